//! The files of the built-in page, embedded when the server is compiled: everything in `client/page/`, and of the client what the page
//! imports. They are served at the places where they lie, so that their imports hold in the browser as on disk.

/// An embedded file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asset {
    /// Where it is served: its path in the repository.
    pub(super) path: &'static str,
    pub(super) bytes: &'static [u8],
}

macro_rules! embed {
    ($($name:literal),+ $(,)?) => {
        &[$(Asset { path: concat!("/client/", $name), bytes: include_bytes!(concat!("../../client/", $name)) }),+]
    };
}

const FILES: &[Asset] = embed![
    "chat.js",
    "lib/client.js",
    "lib/closing.js",
    "lib/connection.js",
    "lib/conversation.js",
    "lib/defer.js",
    "lib/error.js",
    "lib/log.js",
    "lib/outbox.js",
    "lib/states.js",
    "lib/ticker.js",
    "lib/timing.js",
    "lib/types.js",
    "page/app.js",
    "page/avatar.js",
    "page/banner.js",
    "page/composer.js",
    "page/dialogs.js",
    "page/dom.js",
    "page/drafts.js",
    "page/format.js",
    "page/icon.svg",
    "page/keys.js",
    "page/list.js",
    "page/live.js",
    "page/main.js",
    "page/page.css",
    "page/pane.js",
    "page/people.js",
    "page/rows.js",
    "page/scroller.js",
    "page/session.js",
    "page/thread.css",
    "page/thread.js",
];

/// What `/` shows. It has no other address: what it refers to is relative to that one.
pub(super) const INDEX: Asset = Asset { path: "/", bytes: include_bytes!("../../client/page/index.html") };

/// The file that is served at this path.
pub(super) fn find(path: &str) -> Option<Asset> {
    if path == INDEX.path { Some(INDEX) } else { FILES.iter().copied().find(|asset| asset.path == path) }
}

impl Asset {
    /// By the name's end. Browsers run no module and apply no style sheet that is not called one.
    pub(super) fn content_type(&self) -> &'static str {
        match self.path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn names_in(directory: &str) -> impl Iterator<Item = String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).map(move |path| {
            let below = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            format!("/{}", below.display())
        })
    }

    #[test]
    fn every_file_of_the_page_and_of_the_client_that_it_uses_is_embedded_and_nothing_else() {
        let mut on_disk: BTreeSet<String> = ["client/page", "client/lib"].into_iter().flat_map(names_in).collect();
        on_disk.insert("/client/chat.js".to_owned());
        assert!(on_disk.remove("/client/page/index.html"), "it is served as `/`");
        let embedded: BTreeSet<String> = FILES.iter().map(|asset| asset.path.to_owned()).collect();
        assert_eq!(embedded, on_disk);
    }

    #[test]
    fn only_the_page_itself_is_called_one() {
        for asset in FILES {
            assert_ne!(asset.content_type(), INDEX.content_type(), "{}", asset.path);
        }
    }

    /// The policy forbids inline code anyway; text that becomes markup it would not notice.
    #[test]
    fn no_text_becomes_markup() {
        let makes_markup =
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "createContextualFragment"];
        for asset in FILES.iter().filter(|asset| asset.path.starts_with("/client/page/")) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for name in makes_markup {
                assert!(!text.contains(name), "{} names {name}", asset.path);
            }
        }
    }
}
