//! Policies made on the spot: core WebAssembly as text, wrapped with the world of `wit/policy.wit`. No toolchain is needed,
//! and what no compiler would emit can be said too.

use super::abi::{Image, V, World};

/// A policy: what it does when, and otherwise.
#[derive(Clone)]
pub struct Guest {
    rules: Vec<(When, Does)>,
    otherwise: Does,
    starting: Option<Does>,
    hearing: Option<Does>,
    configuring: Option<Does>,
    name: String,
    version: String,
    schema: Option<String>,
    world: String,
    imports: String,
    /// Functions that nobody calls.
    idle: String,
}

/// Which requests a rule is about.
#[derive(Clone, Copy)]
pub enum When {
    /// Their target has this port.
    Port(u16),
    /// Their target is a Unix socket.
    Socket,
    Listen,
    Accept,
    /// They are about something that is open, and asked again.
    Again,
    /// Nobody acts on the verdict.
    #[allow(dead_code, reason = "of the suite of the program")]
    Dry,
}

/// What the guest does where it is asked.
#[derive(Clone)]
pub enum Does {
    /// Answers with this verdict.
    Answers(V),
    Traps,
    Spins,
    Hoards,
    Recurses,
    /// Logs ten thousand lines, and allows.
    Chatters,
    /// Logs until it is stopped.
    Floods,
    /// Computes for a second or so, and allows.
    Ponders,
    /// Computes for about so many microseconds, and goes on.
    Tarries(u32),
    /// Writes to [`SCATTERED`] pages of memory, none beside the other, and goes on.
    #[allow(dead_code, reason = "of the suite of the program")]
    Scatters,
    /// Allows what an instance is asked first, and denies the rest.
    CountsToOne,
    /// Answers with a verdict that lies outside of its memory.
    PointsOutside,
    /// Counts the requests of an hour, and allows so many. It imports `state`.
    #[allow(dead_code, reason = "of the suite of the program")]
    CountsTo(u32),
    /// Told of an end: logs its cause, and counts one request less. It imports `state`.
    #[allow(dead_code, reason = "of the suite of the program")]
    Uncounts,
    /// Nothing else: it goes on.
    Nothing,
}

/// The pages that [`Does::Scatters`] writes to.
pub const SCATTERED: u32 = 200;

pub fn allows() -> Does {
    Does::Answers(V::Case("allow", None))
}

/// Allows on terms, of which only some are named.
pub fn allows_with(terms: Vec<(&'static str, V)>) -> Does {
    Does::Answers(V::case("allow-with", V::Record(terms)))
}

pub fn denies(sentence: &str) -> Does {
    denies_with("test-rule", "a rule of the test", sentence)
}

pub fn denies_with(code: &str, reason: &str, sentence: &str) -> Does {
    Does::Answers(V::case(
        "deny",
        V::Record(vec![
            ("code", V::text(code)),
            ("reason", V::text(reason)),
            ("tell-user", V::some(V::text(sentence))),
        ]),
    ))
}

/// `host:port` or `unix:/path`.
pub fn rewrites(to: &str) -> Does {
    rewrites_with(to, Vec::new())
}

/// Rewrites on terms, of which only some are named.
pub fn rewrites_with(to: &str, terms: Vec<(&'static str, V)>) -> Does {
    Does::Answers(V::case(
        "rewrite",
        V::Record(vec![
            ("to", endpoint(to)),
            ("reason", V::text("moved by the test")),
            ("terms", V::some(V::Record(terms))),
        ]),
    ))
}

fn endpoint(text: &str) -> V {
    if let Some(path) = text.strip_prefix("unix:") {
        return V::case("socket", V::text(path));
    }
    let (host, port) = text.rsplit_once(':').expect("host:port");
    let port = V::Number(port.parse().expect("a port"));
    V::case("tcp", V::Record(vec![("host", V::text(host)), ("port", port)]))
}

impl Guest {
    pub fn that(does: Does) -> Self {
        Self {
            rules: Vec::new(),
            otherwise: does,
            starting: None,
            hearing: None,
            configuring: None,
            name: "test".to_owned(),
            version: "1.0.0".to_owned(),
            schema: None,
            world: include_str!("../../wit/policy.wit").to_owned(),
            imports: String::new(),
            idle: String::new(),
        }
    }

    /// Brings a function that no compiler is done with in minutes: many branches over many variables.
    pub fn hard_to_compile(mut self) -> Self {
        let locals = "i32 ".repeat(2_000);
        let steps: String = (0..40_000)
            .map(|step| {
                let (to, from, other) = (step * 7 % 2_000, step * 13 % 2_000, step * 31 % 2_000);
                format!(
                    "(local.set {to} (i32.add (local.get {from}) (local.get {other}))) (br_if {} (local.get {from}))\n",
                    step % 2
                )
            })
            .collect();
        self.idle = format!("(func (export \"idle\") (local {locals}) (block $out (loop $again {steps})))");
        self
    }

    /// Adds a rule; the first that matches wins.
    pub fn on(mut self, when: When, does: Does) -> Self {
        self.rules.push((when, does));
        self
    }

    pub fn starting(mut self, does: Does) -> Self {
        self.starting = Some(does);
        self
    }

    /// Is told of ends.
    #[allow(dead_code, reason = "of the suite of the program")]
    pub fn hearing(mut self, does: Does) -> Self {
        self.world = self
            .world
            .replacen("export decision;\n", "export decision;\n    export observer;\n", 1);
        self.hearing = Some(does);
        self
    }

    pub fn configuring(mut self, does: Does) -> Self {
        self.configuring = Some(does);
        self
    }

    /// What it calls itself.
    #[allow(dead_code, reason = "of the suite of the gateway")]
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// The version it states; another one makes another digest.
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// Builds it for another version of the world, with the same types. Imports are added after this.
    pub fn for_world(mut self, version: &str) -> Self {
        self.world = self.world.replace("@0.2.0", &format!("@{version}"));
        self
    }

    /// Builds it for track 0.1, as it was published. Imports are added after this.
    #[allow(dead_code, reason = "of the suite of the program")]
    pub fn of_track_0_1(mut self) -> Self {
        self.world = include_str!("../../wit/published/0.1.0/policy.wit").to_owned();
        self
    }

    /// Imports a function that nobody offers.
    pub fn importing_a_stranger(mut self) -> Self {
        self.world = self
            .world
            .replacen("world policy {", "world policy {\n    import stranger: func();", 1);
        self.imports = "(import \"$root\" \"stranger\" (func $stranger))".to_owned();
        self
    }

    /// Imports the interface `names`.
    pub fn importing_names(mut self) -> Self {
        let package = self.world().package().to_owned();
        self.imports =
            format!("(import \"portreeve:policy/names@{package}\" \"resolve\" (func $resolve (param i32 i32 i32)))");
        self
    }

    /// Imports `add` of the interface `state`.
    pub fn importing_state(mut self) -> Self {
        let package = self.world().package().to_owned();
        self.imports =
            format!("(import \"portreeve:policy/state@{package}\" \"add\" (func $add (param i32 i32 i64 i32 i32)))");
        self
    }

    /// States this schema of its settings, which it does not look at.
    pub fn schema(mut self, schema: &str) -> Self {
        self.schema = Some(schema.to_owned());
        self
    }

    /// The component.
    pub fn build(&self) -> Vec<u8> {
        self.world().component(&self.core())
    }

    /// The module before it becomes a component.
    pub fn core(&self) -> Vec<u8> {
        let world = self.world();
        let mut image = Image::default();
        let layout = world.request();
        let rules: String = self
            .rules
            .iter()
            .map(|(when, does)| {
                let condition = match when {
                    When::Port(port) => format!(
                        "(i32.and (i32.eqz (i32.load8_u offset={tag} (local.get 0))) (i32.eq (i32.load16_u offset={at} (local.get 0)) (i32.const {port})))",
                        tag = layout.target,
                        at = layout.port,
                    ),
                    When::Socket => format!("(i32.load8_u offset={} (local.get 0))", layout.target),
                    When::Listen => action(layout.action, 1),
                    When::Accept => action(layout.action, 2),
                    When::Again => format!("(i32.load offset={} (local.get 0))", layout.extra + 4),
                    When::Dry => format!("(i32.load8_u offset={} (local.get 0))", layout.dry_run),
                };
                format!("(if {condition} (then {}))\n", does.code(&world, &mut image))
            })
            .collect();
        let otherwise = self.otherwise.code(&world, &mut image);
        let nothing = Does::Nothing;
        let starting = self.starting.as_ref().unwrap_or(&nothing).code(&world, &mut image);
        let configuring = self.configuring.as_ref().unwrap_or(&nothing).code(&world, &mut image);
        let package = world.package();
        // The id and the cause are texts, then three counts, then what was dialled.
        let hearing = self.hearing.as_ref().map(|does| {
            format!(
                "(func (export \"portreeve:policy/observer@{package}#on-ended\") \
                   (param i32 i32 i32 i32 i64 i64 i64 i32 i32 i32 i32) {})",
                does.code(&world, &mut image)
            )
        });
        let hearing = hearing.unwrap_or_default();
        let mut description = vec![
            ("name", V::text(&self.name)),
            ("version", V::text(&self.version)),
            ("summary", V::text("a policy of the tests")),
        ];
        if let Some(schema) = &self.schema {
            description.push(("settings-schema", V::some(V::text(schema))));
        }
        let description = V::Record(description);
        let description = world.lower(&world.result("lifecycle", "describe"), &description, &mut image);
        let configured = world.lower(&world.result("lifecycle", "configure"), &V::Done, &mut image);
        let (data, heap) = image.finish();
        let pages = heap / 65536 + 2;
        let imports = &self.imports;
        let idle = &self.idle;
        let text = format!(
            r#"(module
  (import "{package_log}" "write" (func $log (param i32 i32 i32)))
  {imports}
  (memory (export "memory") {pages})
  (data (i32.const {base}) "{data}")
  (global $heap (mut i32) (i32.const {heap}))
  (func (export "cabi_realloc") (param $old i32) (param $before i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (block $fits (loop $more
      (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
      unreachable))
    (local.get $at))
  (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
  {idle}
  (func $start {starting})
  (start $start)
  (func (export "portreeve:policy/lifecycle@{package}#describe") (result i32) (i32.const {description}))
  (func (export "portreeve:policy/lifecycle@{package}#configure") (param i32 i32) (result i32)
    {configuring}
    (i32.const {configured}))
  {hearing}
  (func (export "portreeve:policy/decision@{package}#decide") (param i32) (result i32)
    (local $count i32)
    {rules}
    {otherwise}
    unreachable)
)"#,
            package_log = format_args!("portreeve:policy/log@{package}"),
            base = Image::BASE,
        );
        wat::parse_str(&text).expect("the text of the guest")
    }

    fn world(&self) -> World {
        World::new(&self.world)
    }
}

fn action(offset: usize, index: u8) -> String {
    format!("(i32.eq (i32.load8_u offset={offset} (local.get 0)) (i32.const {index}))")
}

impl Does {
    fn code(&self, world: &World, image: &mut Image) -> String {
        match self {
            Self::Answers(verdict) => {
                let at = world.lower(&world.result("decision", "decide"), verdict, image);
                format!("(return (i32.const {at}))")
            }
            Self::Traps => "unreachable".to_owned(),
            Self::Spins => "(loop $again (br $again))".to_owned(),
            Self::Hoards => "(loop $again \
                 (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) \
                 (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 1)) \
                 (br $again))"
                .to_owned(),
            Self::Recurses => "(drop (call $deep (i32.const 0)))".to_owned(),
            Self::Chatters => {
                let allowed = allows().code(world, image);
                let line = image.text("a line that nobody asked for");
                format!(
                    "(loop $again \
                       (call $log (i32.const 1) (i32.const {}) (i32.const {})) \
                       (local.set $count (i32.add (local.get $count) (i32.const 1))) \
                       (br_if $again (i32.lt_u (local.get $count) (i32.const 10000)))) {allowed}",
                    line.0, line.1
                )
            }
            Self::Ponders => {
                let allowed = allows().code(world, image);
                format!(
                    "(loop $again \
                       (local.set $count (i32.add (local.get $count) (i32.const 1))) \
                       (i32.store (i32.const 0) (local.get $count)) \
                       (br_if $again (i32.ne (i32.load (i32.const 0)) (i32.const 1000000000)))) {allowed}"
                )
            }
            Self::Floods => {
                let line = image.text("a line that nobody asked for");
                format!(
                    "(loop $again (call $log (i32.const 1) (i32.const {}) (i32.const {})) (br $again))",
                    line.0, line.1
                )
            }
            Self::CountsTo(most) => {
                let (allowed, denied) = (allows().code(world, image), denies("too many").code(world, image));
                let key = image.text("requests");
                // The answer is a result: its case at 0, the sum at 8.
                let answer = image.text(&" ".repeat(24)).0.next_multiple_of(8);
                format!(
                    "(call $add (i32.const {}) (i32.const {}) (i64.const 1) (i32.const 3600) (i32.const {answer})) \
                     (if (i64.gt_s (i64.load offset=8 (i32.const {answer})) (i64.const {most})) (then {denied})) {allowed}",
                    key.0, key.1
                )
            }
            Self::Uncounts => {
                let key = image.text("requests");
                let answer = image.text(&" ".repeat(24)).0.next_multiple_of(8);
                format!(
                    "(call $log (i32.const 1) (local.get 2) (local.get 3)) \
                     (call $add (i32.const {}) (i32.const {}) (i64.const -1) (i32.const 3600) (i32.const {answer}))",
                    key.0, key.1
                )
            }
            Self::Tarries(micros) => format!(
                "(loop $again \
                   (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1))) \
                   (br_if $again (i32.ne (i32.load (i32.const 8)) (i32.const {}))))",
                micros * 1000
            ),
            // They lie above the heap, from 1 MiB on.
            Self::Scatters => format!(
                "(if (i32.lt_u (memory.size) (i32.const 64)) (then (drop (memory.grow (i32.const 64))))) \
                 (i32.store (i32.const 12) (i32.const 0)) \
                 (loop $again \
                   (i32.store (i32.add (i32.const 0x100000) (i32.mul (i32.load (i32.const 12)) (i32.const 12288))) \
                     (i32.const 1)) \
                   (i32.store (i32.const 12) (i32.add (i32.load (i32.const 12)) (i32.const 1))) \
                   (br_if $again (i32.lt_u (i32.load (i32.const 12)) (i32.const {SCATTERED}))))"
            ),
            Self::CountsToOne => {
                let allowed = allows().code(world, image);
                let denied = denies("this instance was used before").code(world, image);
                format!(
                    "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) \
                     (if (i32.gt_u (i32.load (i32.const 0)) (i32.const 1)) (then {denied})) {allowed}"
                )
            }
            Self::PointsOutside => "(return (i32.const 0x7ffffff8))".to_owned(),
            Self::Nothing => String::new(),
        }
    }
}
