//! Who is called what, and who is in which conversation.

use std::collections::HashMap;

use super::super::verifier::{Names, Place};

/// A conversation of the run.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// Its id, once the server has made it.
    pub(crate) id: Option<String>,
    /// Its code, for who was not named at its creation.
    pub(crate) invite: Option<String>,
    /// Persons by slot; the first founds it.
    pub(crate) members: Vec<u32>,
    /// Whether it is the direct conversation of two.
    pub(crate) direct: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Directory {
    users: Vec<String>,
    by_user: HashMap<String, u32>,
    pub(crate) conversations: Vec<Conversation>,
    by_id: HashMap<String, u32>,
}

impl Directory {
    /// Knows these users by their index.
    pub(crate) fn new(users: Vec<String>) -> Self {
        let by_user = users.iter().cloned().zip(0..).collect();
        Self { users, by_user, conversations: Vec::new(), by_id: HashMap::new() }
    }

    /// Takes up a conversation of these persons and returns its index.
    pub(crate) fn add(&mut self, members: Vec<u32>, direct: bool) -> u32 {
        self.conversations.push(Conversation { id: None, invite: None, members, direct });
        self.conversations.len() as u32 - 1
    }

    /// The server has made it.
    pub(crate) fn founded(&mut self, conversation: u32, id: &str, invite: Option<&str>) {
        let entry = &mut self.conversations[conversation as usize];
        entry.id = Some(id.to_owned());
        entry.invite = invite.map(str::to_owned);
        self.by_id.insert(id.to_owned(), conversation);
    }

    pub(crate) fn user(&self, person: u32) -> &str {
        &self.users[person as usize]
    }

    pub(crate) fn person_of(&self, user: &str) -> Option<u32> {
        self.by_user.get(user).copied()
    }

    pub(crate) fn conversation_of(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// The id of a conversation that exists.
    pub(crate) fn id_of(&self, conversation: u32) -> &str {
        self.conversations[conversation as usize].id.as_deref().unwrap_or_default()
    }
}

impl Names for Directory {
    fn conversation(&self, index: u32) -> String {
        self.id_of(index).to_owned()
    }

    fn user(&self, place: Place) -> String {
        let person = self.conversations[place.conversation as usize].members[place.slot as usize];
        self.users[person as usize].clone()
    }
}
