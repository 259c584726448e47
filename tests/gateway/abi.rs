//! The component model's canonical ABI, as far as a guest needs it to write its answers down: the offsets are computed from
//! the WIT, none is written here.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Int, Resolve, SizeAlign, Type, TypeDefKind, WorldId};

/// A value of the WIT. What a record leaves out is all zeros, which is `none`, the empty list and the first case.
#[derive(Clone)]
pub enum V {
    Text(String),
    /// A string that claims to be there.
    TextAt(u32, u32),
    /// A string that is not UTF-8.
    Bytes(Vec<u8>),
    Number(u64),
    Flag(bool),
    Record(Vec<(&'static str, V)>),
    Tuple(Vec<V>),
    List(Vec<V>),
    Case(&'static str, Option<Box<V>>),
    /// A case that the variant does not have.
    Tag(u8),
    Some(Box<V>),
    /// `ok` without a value.
    Done,
}

impl V {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub fn case(name: &'static str, value: V) -> Self {
        Self::Case(name, Some(Box::new(value)))
    }

    pub fn some(value: V) -> Self {
        Self::Some(Box::new(value))
    }
}

/// The initial memory of a guest.
#[derive(Default)]
pub struct Image(Vec<u8>);

impl Image {
    pub const BASE: usize = 1024;

    fn room(&mut self, size: usize, align: usize) -> usize {
        let at = (Self::BASE + self.0.len()).next_multiple_of(align);
        self.0.resize(at + size - Self::BASE, 0);
        at
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at - Self::BASE..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Where the text is, and how long.
    pub fn text(&mut self, text: &str) -> (usize, usize) {
        self.bytes(text.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> (usize, usize) {
        let at = self.room(bytes.len(), 1);
        self.put(at, bytes);
        (at, bytes.len())
    }

    /// As the literal of a data segment, and the first address after it.
    pub fn finish(self) -> (String, usize) {
        let data = self.0.iter().map(|byte| format!("\\{byte:02x}")).collect();
        (data, Self::BASE + self.0.len())
    }
}

/// The WIT, with the size of everything in it.
pub struct World {
    resolve: Resolve,
    world: WorldId,
    sizes: SizeAlign,
    version: String,
}

/// Where the parts of a request are that rules look at.
pub struct Request {
    pub action: usize,
    /// The tag of `target`: 0 for TCP, 1 for a socket.
    pub target: usize,
    /// The port, where it is TCP.
    pub port: usize,
    /// Whether nobody acts on the verdict.
    pub dry_run: usize,
    /// The list of further facts: where it lies, and how long it is.
    pub extra: usize,
}

impl World {
    pub fn new(text: &str) -> Self {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("policy.wit", text).expect("the WIT parses");
        let world = resolve
            .select_world(&[package], Some("policy"))
            .expect("it has the world");
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve);
        let version = resolve.packages[package]
            .name
            .version
            .as_ref()
            .expect("it has a version")
            .to_string();
        Self {
            resolve,
            world,
            sizes,
            version,
        }
    }

    /// The version of the package.
    pub fn package(&self) -> &str {
        &self.version
    }

    pub fn component(&self, core: &[u8]) -> Vec<u8> {
        let mut module = core.to_vec();
        embed_component_metadata(&mut module, &self.resolve, self.world, StringEncoding::UTF8)
            .expect("embed the world");
        let encoder = ComponentEncoder::default()
            .validate(true)
            .module(&module)
            .expect("a module of the world");
        let mut encoder = encoder;
        encoder.encode().expect("a component")
    }

    /// What a function of the world returns.
    pub fn result(&self, interface: &str, function: &str) -> Type {
        self.function(interface, function).result.expect("it returns something")
    }

    pub fn request(&self) -> Request {
        let request = self.function("decision", "decide").params[0].ty;
        let (action, _) = self.field(&request, "action");
        let (target, endpoint) = self.field(&request, "target");
        let TypeDefKind::Variant(variant) = self.kind(&endpoint) else {
            panic!("an endpoint is a variant");
        };
        let payload = self
            .sizes
            .payload_offset(variant.tag(), variant.cases.iter().map(|case| case.ty.as_ref()));
        let tcp = variant.cases[0].ty.expect("tcp has a payload");
        let (port, _) = self.field(&tcp, "port");
        Request {
            action,
            target,
            port: target + payload.size_wasm32() + port,
            dry_run: self.field(&request, "dry-run").0,
            extra: self.field(&request, "extra").0,
        }
    }

    /// Writes the value down and answers where it is.
    pub fn lower(&self, kind: &Type, value: &V, image: &mut Image) -> usize {
        let at = image.room(
            self.sizes.size(kind).size_wasm32(),
            self.sizes.align(kind).align_wasm32(),
        );
        self.store(kind, value, image, at);
        at
    }

    fn store(&self, kind: &Type, value: &V, image: &mut Image, at: usize) {
        match (value, kind) {
            (V::Text(text), Type::String) => {
                self.store(kind, &V::Bytes(text.clone().into_bytes()), image, at);
            }
            (V::Bytes(bytes), Type::String) => {
                let (place, length) = image.bytes(bytes);
                self.store(kind, &V::TextAt(place as u32, length as u32), image, at);
            }
            (V::TextAt(place, length), Type::String) => {
                image.put(at, &place.to_le_bytes());
                image.put(at + 4, &length.to_le_bytes());
            }
            (V::Number(number), kind) => {
                let size = self.sizes.size(kind).size_wasm32();
                image.put(at, &number.to_le_bytes()[..size]);
            }
            (V::Flag(flag), Type::Bool) => image.put(at, &[u8::from(*flag)]),
            (V::Tag(tag), _) => image.put(at, &[*tag]),
            (V::Done, _) => {}
            (value, kind) => self.store_composed(kind, value, image, at),
        }
    }

    fn store_composed(&self, kind: &Type, value: &V, image: &mut Image, at: usize) {
        match (value, self.kind(kind)) {
            (V::Record(fields), TypeDefKind::Record(_)) => {
                for (name, value) in fields {
                    let (offset, kind) = self.field(kind, name);
                    self.store(&kind, value, image, at + offset);
                }
            }
            (V::Tuple(values), TypeDefKind::Tuple(tuple)) => {
                for ((offset, kind), value) in self.sizes.field_offsets(&tuple.types).into_iter().zip(values) {
                    self.store(kind, value, image, at + offset.size_wasm32());
                }
            }
            (V::List(values), TypeDefKind::List(element)) => {
                let size = self.sizes.size(element).size_wasm32();
                let first = image.room(size * values.len(), self.sizes.align(element).align_wasm32());
                for (index, value) in values.iter().enumerate() {
                    self.store(element, value, image, first + index * size);
                }
                image.put(at, &(first as u32).to_le_bytes());
                image.put(at + 4, &(values.len() as u32).to_le_bytes());
            }
            (V::Case(name, payload), TypeDefKind::Variant(variant)) => {
                let index = variant
                    .cases
                    .iter()
                    .position(|case| case.name == *name)
                    .expect("a case");
                image.put(at, &[index as u8]);
                let offset = self
                    .sizes
                    .payload_offset(variant.tag(), variant.cases.iter().map(|case| case.ty.as_ref()));
                if let (Some(payload), Some(kind)) = (payload, &variant.cases[index].ty) {
                    self.store(kind, payload, image, at + offset.size_wasm32());
                }
            }
            (V::Case(name, None), TypeDefKind::Enum(cases)) => {
                let index = cases.cases.iter().position(|case| case.name == *name).expect("a case");
                image.put(at, &[index as u8]);
            }
            (V::Some(payload), TypeDefKind::Option(kind)) => {
                image.put(at, &[1]);
                let offset = self.sizes.payload_offset(Int::U8, [Some(kind)]);
                self.store(kind, payload, image, at + offset.size_wasm32());
            }
            (_, kind) => panic!("this value is no {}", kind.as_str()),
        }
    }

    fn function(&self, interface: &str, function: &str) -> &wit_parser::Function {
        let mut interfaces = self.resolve.interfaces.iter();
        let (_, found) = interfaces
            .find(|(_, one)| one.name.as_deref() == Some(interface))
            .expect("an interface");
        &found.functions[function]
    }

    fn field(&self, record: &Type, name: &str) -> (usize, Type) {
        let TypeDefKind::Record(record) = self.kind(record) else {
            panic!("no record has the field {name}");
        };
        let index = record.fields.iter().position(|field| field.name == name).expect(name);
        let offsets = self.sizes.field_offsets(record.fields.iter().map(|field| &field.ty));
        (offsets[index].0.size_wasm32(), record.fields[index].ty)
    }

    /// What a type is, behind its aliases.
    fn kind(&self, kind: &Type) -> &TypeDefKind {
        let Type::Id(id) = kind else {
            panic!("a primitive type has no parts");
        };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(alias) => self.kind(alias),
            kind => kind,
        }
    }
}
