//! Names and last visits that the store did not take: they are offered again, some every second, until it does.
//!
//! Whoever logs in while the store is away would else go by an old name, or by their id, until their next login.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::protocol::{UnixMillis, UserId};

use super::context::Context;
use super::input::{Input, SessionInput};
use super::sessions::Sessions;

/// Most names, and most visits, that are kept. What is one too many is given up: the next login, or the next visit, brings another.
const MAX_KEPT: usize = 16_384;
/// Most of each that are offered at once, so that a store which is away is not bothered with all of them every second.
const MAX_OFFERED: usize = 256;

/// What the store did not take.
pub(crate) enum Refused {
    /// A name.
    Name(UserId, Arc<str>),
    /// When users were last online.
    Visits(Vec<(UserId, UnixMillis)>),
}

/// What is to be offered again.
#[derive(Default)]
pub(super) struct Unsaved {
    names: HashMap<UserId, Arc<str>>,
    visits: HashMap<UserId, UnixMillis>,
}

impl Unsaved {
    fn keep_name(&mut self, user: UserId, name: Arc<str>) {
        if self.names.len() < MAX_KEPT || self.names.contains_key(&user) {
            self.names.insert(user, name);
        }
    }

    fn keep_visit(&mut self, user: UserId, at: UnixMillis) {
        if let Some(latest) = self.visits.get_mut(&user) {
            *latest = at.max(*latest);
        } else if self.visits.len() < MAX_KEPT {
            self.visits.insert(user, at);
        }
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.visits.is_empty()
    }
}

impl Sessions {
    /// Has the store remember a user's name. An older one that it did not take is of no interest any more.
    pub(super) fn put_name(&mut self, user: UserId, name: Arc<str>, context: &Context) {
        self.unsaved.names.remove(&user);
        let mailbox = context.mailbox();
        let refused = Refused::Name(user.clone(), Arc::clone(&name));
        let done = Box::new(move |result: Result<(), _>| {
            if result.is_err() {
                mailbox.send(Input::Session(SessionInput::Unsaved(refused)));
            }
        });
        context.shared.store.put_user(user, name, done);
    }

    /// Has the store remember when users were last online.
    pub(super) fn put_visits(&self, visits: Vec<(UserId, UnixMillis)>, context: &Context) {
        let mailbox = context.mailbox();
        let refused = Refused::Visits(visits.clone());
        let done = Box::new(move |result: Result<(), _>| {
            if result.is_err() {
                mailbox.send(Input::Session(SessionInput::Unsaved(refused)));
            }
        });
        context.shared.store.put_last_seen(visits, done);
    }

    /// Keeps what the store did not take.
    pub(super) fn handle_unsaved(&mut self, refused: Refused) {
        if self.unsaved.is_empty() {
            tracing::warn!("the store did not take a user's name or last visit; it is offered again");
        }
        match refused {
            Refused::Name(user, name) => {
                // They may have a newer one by now, which was offered after this.
                let current = self.users.get(&user).and_then(|user| user.name.as_ref());
                if current.is_none_or(|current| *current == name) {
                    self.unsaved.keep_name(user, name);
                }
            }
            Refused::Visits(visits) => visits.into_iter().for_each(|(user, at)| self.unsaved.keep_visit(user, at)),
        }
    }

    /// Offers some of it again.
    pub(super) fn offer_unsaved(&mut self, context: &Context) {
        let names: Vec<_> =
            self.unsaved.names.iter().take(MAX_OFFERED).map(|(user, name)| (user.clone(), Arc::clone(name))).collect();
        for (user, name) in names {
            self.put_name(user, name, context);
        }
        let visits: Vec<_> = self.unsaved.visits.iter().take(MAX_OFFERED).map(|(user, at)| (user.clone(), *at)).collect();
        if !visits.is_empty() {
            for (user, _) in &visits {
                self.unsaved.visits.remove(user);
            }
            self.put_visits(visits, context);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("user-{number}")).unwrap()
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest_of_each() {
        let mut unsaved = Unsaved::default();
        for number in 0..MAX_KEPT + 10 {
            unsaved.keep_name(user(number), Arc::from("old"));
            unsaved.keep_visit(user(number), UnixMillis::new(5));
        }
        assert_eq!((unsaved.names.len(), unsaved.visits.len()), (MAX_KEPT, MAX_KEPT));
        unsaved.keep_name(user(0), Arc::from("new"));
        unsaved.keep_visit(user(0), UnixMillis::new(7));
        unsaved.keep_visit(user(0), UnixMillis::new(6));
        assert_eq!((&*unsaved.names[&user(0)], unsaved.visits[&user(0)]), ("new", UnixMillis::new(7)));
    }
}
