//! A keyword by itself, where rules cannot say several at once: rules before these say for whom the others are off.

use super::chain::{Listing, Said};
use super::{Denial, Maker};
use crate::import::regions::{Region, open};
use crate::import::sshd::{Directive, Permits, Scope};
use crate::import::targets::Targets;
use crate::import::who::Who;

impl Maker<'_> {
    /// The lines of a keyword by themselves.
    pub(super) fn listing(&mut self, listing: &Listing) {
        let on = vec![true; listing.kinds.len()];
        let Some(keyword) = listing.keyword else {
            return self.allow(
                listing,
                &Who::everyone(),
                &self.unsaid(listing),
                (&Permits::Any, &Targets::default(), &on),
            );
        };
        let sshd = self.sshd;
        let mut lines: Vec<(Option<&Scope>, &Directive)> = Vec::new();
        for (scope, line) in sshd.scoped(keyword) {
            if !scope.never(&self.around) && !lines.iter().any(|(_, other)| other.scope == line.scope) {
                lines.push((Some(scope), line));
            }
        }
        // Those that may hold or not: they can only forbid, and that before all that allows.
        lines.retain(|(scope, line)| {
            let open = scope.and_then(|scope| Some((scope, open(scope, &self.around)?)));
            if let Some((scope, why)) = open {
                self.perhaps(listing, scope, line, why);
                return false;
            }
            true
        });
        lines.extend(sshd.global(keyword).map(|line| (None, line)));
        for (scope, line) in lines {
            self.line(listing, scope, line);
        }
        if sshd.global(keyword).is_none() {
            self.allow(
                listing,
                &Who::everyone(),
                &self.unsaid(listing),
                (&Permits::Any, &Targets::default(), &on),
            );
        }
    }

    /// What no line says.
    pub(super) fn unsaid(&self, listing: &Listing) -> Said {
        let place = self.sshd.default_place();
        let text = format!(
            "{place}: {} any",
            listing.keyword.unwrap_or("AllowStreamLocalForwarding")
        );
        Said {
            place,
            name: listing.default_name(),
            sources: vec![text.clone()],
            reason: text,
        }
    }

    /// A line whose Match line may hold or not: whom it may concern gets what both it and the rest permit.
    fn perhaps(&mut self, listing: &Listing, scope: &Scope, line: &Directive, why: String) {
        let Some(who) = Who::of(scope, &self.around) else {
            return;
        };
        let (permits, targets) = self.read(listing, line);
        let every = listing.every();
        let denied: Vec<_> = match permits {
            Permits::Any => return,
            Permits::Nothing => every,
            Permits::Listed(_) => {
                let except = targets
                    .listed
                    .iter()
                    .filter(|one| listing.covers(one))
                    .map(|one| format!("!{one}"));
                let left = every.iter().filter(|every| !targets.listed.contains(every));
                left.cloned().chain(except).collect()
            }
        };
        if denied.iter().all(|one| one.starts_with('!')) {
            return;
        }
        let region = Region {
            parts: vec![who],
            place: line.place.clone(),
            text: line.text(),
            scope: Some(scope.text()),
            wider: Some(why),
        };
        self.deny(
            &region,
            &Denial {
                name: listing.name(),
                actions: listing.actions,
                targets: denied,
                tell_user: listing.tell_user,
                stricter: true,
            },
        );
    }

    fn line(&mut self, listing: &Listing, scope: Option<&Scope>, line: &Directive) {
        let who = match scope {
            Some(scope) => Who::of(scope, &self.around),
            None => Some(Who::everyone()),
        };
        let Some(who) = who else {
            return;
        };
        let (permits, targets) = self.read(listing, line);
        let left_out = targets.left_out.iter().any(|one| one.permitted);
        let exact = who.settled().is_none_or(|who| who.exact);
        let said = Said::of(line, scope.as_slice(), &[line]);
        if exact {
            let on = vec![true; listing.kinds.len()];
            self.allow(listing, &who, &said, (&permits, &targets, &on));
        } else {
            let words = "denied for more than it names: a rule can ask for one group only, not for two at once";
            self.notes.stricter(&said.place, line.keyword.name, words);
        }
        if permits != Permits::Any || !exact {
            self.rest(listing, &who, &said, (None, left_out));
        }
    }
}
