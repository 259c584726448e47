//! The macro that makes a component.

/// Makes a policy, which is a component, of plain functions. Once in a crate, with its arguments in this order:
///
/// | argument | |
/// |---|---|
/// | `name:` | a name for the policy |
/// | `version:` | left out: the version of the crate |
/// | `summary:` | one line |
/// | `settings:` | the type of the settings, anything that serde reads; left out: no settings, and `decide` takes the request alone |
/// | `schema:` | a JSON Schema of the settings, as text, for example `include_str!("../settings.schema.json")` |
/// | `check:` | `fn(&Settings) -> Vec<Problem>`: what serde cannot say of the settings |
/// | `warm:` | `fn(&Settings)`: called once after the settings were accepted, and before the copy that decisions start from |
/// | `decide:` | `fn(&Request, &Settings) -> Verdict` |
/// | `on_ended:` | `fn(&Ended, &Settings)`: told of each tunnel and listener that ended |
///
/// The settings are read once, and every decision starts from a copy of the memory as it was then: what is prepared there
/// (by a `#[serde(try_from = "…")]`, say) costs a decision nothing. Values that are built at their first use (a table in a `LazyLock`,
/// the caches of a rule engine) would be built again in each decision: use them once in `warm`, for example by deciding a
/// [`sample`](crate::sample). Everything that this changes in the policy's memory becomes part of the copy. In `warm`, `log` and
/// `calendar` work as usual; `names`, `state` and `view` return an error.
///
/// ```
/// use std::collections::HashSet;
/// use std::sync::LazyLock;
///
/// use portreeve_policy::{Request, Verdict, policy, sample};
///
/// static OPEN: LazyLock<HashSet<u16>> = LazyLock::new(|| (8000..9000).collect());
///
/// fn decide(request: &Request) -> Verdict {
///     match request.port() {
///         Some(port) if OPEN.contains(&port) => Verdict::allow(),
///         _ => Verdict::deny("other-port", "not one of the ports"),
///     }
/// }
///
/// fn warm() {
///     let _ = decide(&sample::connect("db.internal:8000").build());
/// }
///
/// policy!(name: "thousand-ports", summary: "a thousand ports", warm: warm, decide: decide);
/// # fn main() {}
/// ```
///
/// ```
/// use portreeve_policy::{Request, Verdict, policy};
///
/// fn decide(request: &Request) -> Verdict {
///     if request.port() == Some(22) { Verdict::allow() } else { Verdict::deny("only-22", "not port 22") }
/// }
///
/// policy!(name: "only-22", summary: "port 22 and nothing else", decide: decide);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! policy {
    (
        name: $name:expr,
        $(version: $version:expr,)?
        summary: $summary:expr,
        settings: $settings:ty,
        $(schema: $schema:expr,)?
        $(check: $check:expr,)?
        $(warm: $warm:expr,)?
        decide: $decide:expr
        $(, on_ended: $on_ended:expr)?
        $(,)?
    ) => {
        const _: () = {
            struct Component;

            impl $crate::component::Policy for Component {
                type Settings = $settings;

                const NAME: &'static str = $name;
                const VERSION: &'static str = $crate::policy!(@version $($version)?);
                const SUMMARY: &'static str = $summary;
                const SCHEMA: ::core::option::Option<&'static str> = $crate::policy!(@option $($schema)?);

                fn configured() -> &'static $crate::component::Configured<$settings> {
                    static CONFIGURED: $crate::component::Configured<$settings> = $crate::component::Configured::empty();
                    &CONFIGURED
                }

                #[allow(unused_variables)]
                fn check(settings: &$settings) -> ::std::vec::Vec<$crate::Problem> {
                    $crate::policy!(@check settings $($check)?)
                }

                $(
                    fn warm(settings: &$settings) {
                        ($warm)(settings)
                    }
                )?

                fn decide(request: &$crate::Request, settings: &$settings) -> $crate::Verdict {
                    ($decide)(request, settings)
                }
            }

            $(
                impl $crate::component::Observer for Component {
                    fn on_ended(ended: &$crate::Ended, settings: &$settings) {
                        ($on_ended)(ended, settings)
                    }
                }
            )?

            // On the host nothing is exported; what the policy is made of is in use all the same.
            $crate::component::in_use(&Component);

            #[cfg(target_arch = "wasm32")]
            #[allow(missing_docs, unsafe_code)]
            const EXPORTS: () = {
                $crate::bindings::export_policy!(Component with_types_in $crate::bindings);
                $crate::policy!(@observer Component $($on_ended)?);
            };
        };
    };

    (
        name: $name:expr,
        $(version: $version:expr,)?
        summary: $summary:expr,
        $(warm: $warm:expr,)?
        decide: $decide:expr
        $(, on_ended: $on_ended:expr)?
        $(,)?
    ) => {
        $crate::policy!(
            name: $name,
            $(version: $version,)?
            summary: $summary,
            settings: $crate::settings::NoSettings,
            $(warm: |_: &$crate::settings::NoSettings| ($warm)(),)?
            decide: |request: &$crate::Request, _: &$crate::settings::NoSettings| -> $crate::Verdict { ($decide)(request) }
            $(, on_ended: |ended: &$crate::Ended, _: &$crate::settings::NoSettings| ($on_ended)(ended))?
        );
    };

    (@version) => { ::core::env!("CARGO_PKG_VERSION") };
    (@version $version:expr) => { $version };
    (@option) => { ::core::option::Option::None };
    (@option $some:expr) => { ::core::option::Option::Some($some) };
    (@check $settings:ident) => { ::std::vec::Vec::new() };
    (@check $settings:ident $check:expr) => { ($check)($settings) };
    (@observer $component:ident) => {};
    (@observer $component:ident $on_ended:expr) => {
        $crate::bindings::observing::export_observer!($component with_types_in $crate::bindings::observing);
    };
}
