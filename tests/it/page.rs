//! The built-in page as a browser gets it: where it is served, with which headers, and where it is not. What it does is for
//! `tests/browser/`.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Server, http, server};

const FILES: [(&str, &str); 5] = [
    ("/", "text/html; charset=utf-8"),
    ("/client/page/main.js", "text/javascript; charset=utf-8"),
    ("/client/page/page.css", "text/css; charset=utf-8"),
    ("/client/page/icon.svg", "image/svg+xml"),
    ("/client/chat.js", "text/javascript; charset=utf-8"),
];

#[tokio::test]
async fn the_page_is_served_in_development_and_where_it_is_asked_for() {
    let (development, asked) = (server::Development::start().await, Server::start(&[("--page", "")]).await);
    for address in [development.address(), asked.address()] {
        for (path, content_type) in FILES {
            let response = http::get(address, path).await;
            assert_eq!((response.status, response.header("content-type")), (200, Some(content_type)), "{path}");
            let file = if path == "/" { "client/page/index.html" } else { &path[1..] };
            let on_disk = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the file is there");
            assert_eq!(response.body, on_disk, "{path}");
        }
    }
}

#[tokio::test]
async fn the_development_mode_says_where_it_is() {
    let mut development = server::Development::start().await;
    let url = format!("http://{}/", development.address());
    let printed = development.printed().await;
    assert!(printed.iter().any(|line| line.split_whitespace().any(|word| word == url)), "{url} is not in {printed:#?}");
}

#[tokio::test]
async fn without_being_asked_for_it_is_not_served() {
    let server = Server::start(&[]).await;
    let root = http::get(server.address(), "/").await;
    assert_eq!((root.status, root.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    for (path, _) in &FILES[1..] {
        assert_eq!(http::get(server.address(), path).await.status, 404, "{path}");
    }
    assert_eq!(http::get(server.address(), "/client/page/mode.json").await.status, 404);
}

#[tokio::test]
async fn every_file_says_what_it_may_do() {
    let server = Server::start(&[("--page", "")]).await;
    for path in FILES.iter().map(|(path, _)| *path).chain(["/client/page/mode.json"]) {
        let response = http::get(server.address(), path).await;
        let policy = response.header("content-security-policy").unwrap_or_else(|| panic!("{path}"));
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "worker-src 'self'",
            "img-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.split(';').any(|given| given.trim() == directive), "{path}: {directive} is not in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(response.header("connection"), Some("close"), "{path}");
    }
}

#[tokio::test]
async fn what_a_browser_has_already_is_not_sent_again() {
    let server = Server::start(&[("--page", "")]).await;
    let mut tags = Vec::new();
    for (path, _) in FILES {
        let first = http::get(server.address(), path).await;
        assert_eq!(first.header("cache-control"), Some("no-cache"), "it is kept, and asked for each time");
        let tag = first.header("etag").expect("a tag").to_owned();
        let ask = |tag: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\n\r\n");
        let again = http::request(server.address(), &ask(&tag)).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        assert!(again.header("content-security-policy").is_some());
        assert_eq!(http::request(server.address(), &ask("\"another\"")).await.status, 200);
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), FILES.len());
}

#[tokio::test]
async fn only_get_and_head_are_taken_and_only_known_names() {
    let server = Server::start(&[("--page", "")]).await;
    for (path, _) in FILES {
        let get = http::get(server.address(), path).await;
        let head = http::request(server.address(), &format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        let post = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        let refused = http::request(server.address(), &post).await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
    for path in [
        "/index.html",
        "/client",
        "/client/",
        "/client/page/",
        "/client/page/index.html",
        "/client/package.json",
        "/client/page/../chat.js",
        "/client/page/%2e%2e/chat.js",
        "/client/page/main.js/",
        "//client/chat.js",
    ] {
        assert_eq!(http::get(server.address(), path).await.status, 404, "{path}");
    }
    // A query changes nothing: tokens do not belong there, and are not looked at.
    assert_eq!(http::get(server.address(), "/?token=x").await.status, 200);
}

#[tokio::test]
async fn demo_users_are_named_only_where_they_get_tokens() {
    let (development, asked) = (server::Development::start().await, Server::start(&[("--page", "")]).await);
    let users = |body: &str| serde_json::from_str::<Value>(body).expect("JSON")["users"].clone();
    let named = http::get(development.address(), "/client/page/mode.json").await;
    assert_eq!(named.header("content-type"), Some("application/json"));
    let kept = "it is the only answer that another start of the same server may change";
    assert_eq!((named.header("cache-control"), named.header("etag")), (Some("no-store"), None), "{kept}");
    let named = users(&named.body);
    assert!(named.as_array().is_some_and(|users| users.len() >= 5), "{named}");
    for user in named.as_array().expect("a list") {
        let sub = user["id"].as_str().expect("an id");
        assert_eq!(http::get(development.address(), &format!("/dev/token?sub={sub}")).await.status, 200, "{user}");
    }
    assert_eq!(users(&http::get(asked.address(), "/client/page/mode.json").await.body), json!([]));
    assert_eq!(http::get(asked.address(), "/dev/token?sub=alice").await.status, 404, "the page brings no tokens with it");
}

#[tokio::test]
async fn pages_of_elsewhere_get_no_token_and_do_not_frame_this_one() {
    let development = server::Development::start().await;
    let ask = |head: &str| format!("GET /dev/token?sub=alice HTTP/1.1\r\n{head}\r\n\r\n");
    for head in ["Host: evil.test", "Host: 127.0.0.1\r\nOrigin: https://evil.test", "Host: 127.0.0.1\r\nOrigin: null"] {
        assert_eq!(http::request(development.address(), &ask(head)).await.status, 403, "{head}");
    }
}
