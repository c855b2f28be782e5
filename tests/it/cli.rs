//! The command line: exit codes, faults all at once, tokens, and the development mode.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::support::{Client, Server, run_to_exit, server, token};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary path in UTF-8")
}

#[tokio::test]
async fn a_wrong_flag_is_a_usage_error() {
    for arguments in [&["serve", "--no-such-flag"][..], &["no-such-command"], &["serve", "--workers", "many"]] {
        let output = run_to_exit(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[tokio::test]
async fn help_and_version_are_no_errors() {
    for flag in ["--help", "--version"] {
        let output = run_to_exit(&[flag]).await;
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("parlor"));
    }
}

#[tokio::test]
async fn all_faults_of_a_configuration_are_listed_at_once() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let missing = directory.path().join("no-such-secret");
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        path(directory.path()),
        "--database",
        "mongodb://nowhere",
        "--jwt-secret-file",
        path(&missing),
        "--allow-origin",
        "not an origin",
    ];
    let output = run_to_exit(&arguments).await;
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    for named in ["--database", "--jwt-secret-file", "--allow-origin"] {
        assert!(stderr(&output).contains(named), "{named} is not in {}", stderr(&output));
    }
}

#[tokio::test]
async fn a_server_without_any_key_does_not_start() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let output = run_to_exit(&["serve", "--listen", "127.0.0.1:0", "--data", path(directory.path())]).await;
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
}

#[tokio::test]
async fn a_weak_secret_is_refused_and_never_printed() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let secret = directory.path().join("secret");
    server::write_secret(&secret, "hunter2");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", path(directory.path()), "--jwt-secret-file", path(&secret)];
    let output = run_to_exit(&arguments).await;
    assert_eq!(output.status.code(), Some(78));
    assert!(!stderr(&output).contains("hunter2"));
}

#[tokio::test]
async fn a_minted_token_logs_in() {
    let server = Server::start(&[]).await;
    let secret = server.directory().join("secret");
    let output = run_to_exit(&["token", "--sub", "ada", "--jwt-secret-file", path(&secret)]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let minted = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut client = Client::connect(&server).await;
    let reply = client.ok("auth", json!({"token": minted.trim()})).await;
    assert_eq!(reply["user"]["id"], json!("ada"));
    assert!(!stderr(&output).contains(token::SECRET));
}

#[tokio::test]
async fn the_development_mode_prints_a_url_and_tokens_that_log_in() {
    let mut server = server::Development::start().await;
    let tokens = server.tokens().await;
    assert!(!tokens.is_empty());
    for token in tokens {
        let mut client = Client::over(server.connect().await);
        client.ok("auth", json!({"token": token})).await;
    }
}

#[tokio::test]
async fn what_the_development_mode_writes_is_for_its_owner_only() {
    let server = server::Development::start().await;
    let secrets: Vec<_> = server::files_below(server.directory())
        .into_iter()
        .filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().contains("secret")))
        .collect();
    assert!(!secrets.is_empty(), "the secret is kept, so that tokens outlive a restart");
    for file in secrets {
        let mode = std::fs::metadata(&file).expect("it exists").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn the_development_mode_listens_on_loopback_only() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    for address in ["0.0.0.0:0", "[::]:0"] {
        let output = run_to_exit(&["serve", "--dev", "--listen", address, "--data", path(directory.path())]).await;
        assert_eq!(output.status.code(), Some(78), "{address}: {}", stderr(&output));
        assert!(stderr(&output).contains("--dev"), "{}", stderr(&output));
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_and_no_panic() {
    let server = Server::start(&[]).await;
    let other = tempfile::TempDir::new().expect("a temporary directory");
    let secret = server.directory().join("secret");
    let address = server.address().to_string();
    let arguments = ["serve", "--listen", &address, "--data", path(other.path()), "--jwt-secret-file", path(&secret)];
    let output = run_to_exit(&arguments).await;
    assert!(output.status.code().is_some_and(|code| code != 0 && code != 101), "{:?}", output.status);
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}

#[tokio::test]
async fn nothing_private_is_logged() {
    let mut server = Server::start(&[]).await;
    let mut ada = Client::connect(&server).await;
    let minted = token::mint("ada");
    ada.ok("auth", json!({"token": minted})).await;
    let (room, code) = crate::support::group(&mut ada, &[]).await;
    crate::support::say(&mut ada, &room, "for their eyes only").await;
    server.terminate();
    server.wait().await;
    let log = server.log();
    for private in ["for their eyes only", &minted, &code, token::SECRET] {
        assert!(!log.contains(private), "{private} is in the log");
    }
}

#[tokio::test]
async fn the_most_talkative_log_names_reasons_and_requests_but_no_token_and_no_text() {
    let mut server = Server::start(&[("--log-level", "trace"), ("--jwt-audience", "chat"), ("--drain-time", "5s")]).await;
    let claims = json!({"sub": "ada", "name": "Nightingale", "exp": token::now() + 3600, "aud": "chat"});
    let good = token::sign(&claims);
    let elsewhere = token::sign(&json!({"sub": "ada", "exp": token::now() + 3600, "aud": "elsewhere"}));
    Client::connect(&server).await.fails("auth", json!({"token": elsewhere}), "unauthorized").await;
    let mut ada = Client::connect(&server).await;
    ada.ok("auth", json!({"token": good})).await;
    let created = ada.ok("create_group", json!({"name": "Sesame seeds"})).await;
    let room = &created["conversation"]["id"];
    ada.ok("send_message", json!({"conversationId": room, "content": "xyzzy plugh"})).await;
    let code = created["inviteCode"].as_str().expect("an invite code");
    // Its end is the fence: what is logged before it stops is in.
    server.terminate();
    ada.close().await;
    assert_eq!(server.wait().await, Some(0));
    let log = server.log();
    for said in ["a token was refused", "aud", "logged in", "send_message", "closing"] {
        assert!(log.contains(said), "{said:?} is not in the log:\n{log}");
    }
    let parts = good.split('.').chain(elsewhere.split('.'));
    for secret in parts.chain([token::SECRET, "xyzzy", "plugh", "Sesame", "Nightingale", code]) {
        assert!(!log.contains(secret), "{secret:?} is in the log");
    }
}
