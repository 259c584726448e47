//! Between the exports of the contract and the functions that were handed to [`policy!`](crate::policy!).

use std::sync::{PoisonError, RwLock};

use serde::de::DeserializeOwned;

use crate::bindings::exports::portreeve::policy::{decision, lifecycle};
use crate::bindings::observing::exports::portreeve::policy::observer;
use crate::bindings::portreeve::policy::types::Description;
use crate::{Ended, Problem, Request, Verdict, settings};

/// What the macro makes of its arguments.
pub trait Policy: 'static {
    type Settings: DeserializeOwned + Send + Sync + 'static;

    const NAME: &'static str;
    const VERSION: &'static str;
    const SUMMARY: &'static str;
    const SCHEMA: Option<&'static str>;

    fn configured() -> &'static Configured<Self::Settings>;
    fn check(settings: &Self::Settings) -> Vec<Problem>;
    fn warm(_: &Self::Settings) {}
    fn decide(request: &Request, settings: &Self::Settings) -> Verdict;
}

/// Told of what ended.
pub trait Observer: Policy {
    fn on_ended(ended: &Ended, settings: &Self::Settings);
}

/// Makes something of a component's type, for the compiler to see that it is needed.
pub const fn in_use<P: Policy>(_: &P) {}

/// The settings, from `configure` on.
pub struct Configured<S>(RwLock<Option<S>>);

impl<S> Configured<S> {
    #[must_use]
    pub const fn empty() -> Self {
        Self(RwLock::new(None))
    }

    fn set(&self, settings: Option<S>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn with<T>(&self, use_them: impl FnOnce(&S) -> T) -> Option<T> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(use_them)
    }
}

impl<P: Policy> lifecycle::Guest for P {
    fn describe() -> Description {
        Description {
            name: P::NAME.into(),
            version: P::VERSION.into(),
            summary: P::SUMMARY.into(),
            settings_schema: P::SCHEMA.map(Into::into),
        }
    }

    fn configure(text: String) -> Result<(), Vec<Problem>> {
        #[cfg(target_arch = "wasm32")]
        std::panic::set_hook(Box::new(|panic| crate::log::error(panic.to_string())));
        P::configured().set(None);
        let settings = settings::read(&text)?;
        let problems = P::check(&settings);
        if !problems.is_empty() {
            return Err(problems);
        }
        P::configured().set(Some(settings));
        let _ = P::configured().with(P::warm);
        Ok(())
    }
}

impl<P: Policy> decision::Guest for P {
    fn decide(request: Request) -> Verdict {
        let verdict = P::configured().with(|settings| P::decide(&request, settings));
        verdict.unwrap_or_else(|| Verdict::deny("not-configured", "the policy has no settings yet"))
    }
}

impl<P: Observer> observer::Guest for P {
    fn on_ended(ended: Ended) {
        let _ = P::configured().with(|settings| P::on_ended(&ended, settings));
    }
}

#[cfg(test)]
mod tests {
    use super::{Configured, Observer, Policy, decision, lifecycle, observer};
    use crate::{Ended, Problem, Request, Verdict, settings, state, testing};
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limits {
        most: u16,
    }

    struct UpTo;

    impl Policy for UpTo {
        type Settings = Limits;

        const NAME: &'static str = "up-to";
        const VERSION: &'static str = "1.2.3";
        const SUMMARY: &'static str = "ports up to a number";
        const SCHEMA: Option<&'static str> = Some("{}");

        fn configured() -> &'static Configured<Limits> {
            static CONFIGURED: Configured<Limits> = Configured::empty();
            &CONFIGURED
        }

        fn check(settings: &Limits) -> Vec<Problem> {
            match settings.most {
                0 => vec![settings::problem("/most", "0 is no port")],
                _ => Vec::new(),
            }
        }

        fn warm(settings: &Limits) {
            let _ = state::add("warmed", settings.most.into(), 60);
        }

        fn decide(request: &Request, settings: &Limits) -> Verdict {
            match request.port() {
                Some(port) if port <= settings.most => Verdict::allow(),
                _ => Verdict::deny("too-high", "above the limit"),
            }
        }
    }

    impl Observer for UpTo {
        fn on_ended(ended: &Ended, settings: &Limits) {
            let _ = state::add(&ended.cause, settings.most.into(), 60);
        }
    }

    fn ask(port: u16) -> Option<String> {
        let request = testing::connect(&format!("db:{port}")).build();
        <UpTo as decision::Guest>::decide(request).code().map(Into::into)
    }

    /// One test, since a component is configured in one place.
    #[test]
    fn a_component_decides_by_the_settings_that_it_accepted() {
        let configure = |text: &str| <UpTo as lifecycle::Guest>::configure(text.into());
        assert_eq!(ask(1).as_deref(), Some("not-configured"));
        let _host = testing::Host::new().install();
        assert!(configure(r#"{ "most": 0 }"#).is_err());
        assert_eq!(
            state::add("warmed", 0, 60),
            Ok(0),
            "only with settings that it accepted"
        );
        assert_eq!(configure(r#"{ "most": 100 }"#), Ok(()));
        assert_eq!(state::add("warmed", 0, 60), Ok(100), "once");
        assert_eq!((ask(100), ask(101).as_deref()), (None, Some("too-high")));

        <UpTo as observer::Guest>::on_ended(Ended {
            id: "f-1".into(),
            cause: "closed".into(),
            milliseconds: 1,
            bytes_up: 0,
            bytes_down: 0,
            dialled: None,
        });
        assert_eq!(state::add("closed", 0, 60), Ok(100));

        assert_eq!(
            configure(r#"{ "most": 0 }"#),
            Err(vec![settings::problem("/most", "0 is no port")])
        );
        assert_eq!(ask(1).as_deref(), Some("not-configured"));
        assert!(configure(r#"{ "least": 1 }"#).is_err());
    }

    #[test]
    fn a_component_describes_itself() {
        let described = <UpTo as lifecycle::Guest>::describe();
        assert_eq!(
            (described.name.as_str(), described.version.as_str()),
            ("up-to", "1.2.3")
        );
        assert_eq!(described.settings_schema.as_deref(), Some("{}"));
    }
}
