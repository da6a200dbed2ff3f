//! Models by name, from a hub on a loopback address.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Output},
    thread,
};

/// Serves the demo checkpoint as `owner/demo`, with a non-commercial licence.
fn hub() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let mut files: BTreeMap<String, Vec<u8>> =
        ["config.json", "preprocessor_config.json", "model.safetensors"]
            .map(|name| (name.to_owned(), fs::read(folder.join(name)).expect("the demo is there")))
            .into();
    files.insert("README.md".to_owned(), b"---\nlicense: cc-by-nc-4.0\n---\n".to_vec());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let mut words = request.split(' ');
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let commit = "0123456789abcdef0123456789abcdef01234567";
            let name = path.rsplit('/').next().unwrap_or_default();
            let body = match files.get(name) {
                _ if path == "/api/models/owner/demo/revision/main" => {
                    let names: Vec<_> =
                        files.keys().map(|name| format!("{{\"rfilename\": {name:?}}}")).collect();
                    Some(format!("{{\"sha\": {commit:?}, \"siblings\": [{}]}}", names.join(",")).into_bytes())
                }
                Some(bytes) if path.starts_with(&format!("/owner/demo/resolve/{commit}/")) => {
                    Some(bytes.clone())
                }
                _ => None,
            };
            let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
            let body = body.unwrap_or_default();
            let head = format!(
                "HTTP/1.1 {status}\r\nETag: \"{:040x}\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len(),
                body.len()
            );
            // A client that hangs up has what it wants.
            let _ = stream.write_all(head.as_bytes());
            if method == "GET" {
                let _ = stream.write_all(&body);
            }
        }
    });
    address
}

fn classify(cache: &Path, variables: &[(&str, &str)], model: &str, more: &[&str]) -> Output {
    let clip = format!("{}/../fixtures/clips/left.mp4", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_videomae"));
    for name in ["HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT"] {
        command.env_remove(name);
    }
    command.env("HF_HOME", cache).env("NO_PROXY", "*").envs(variables.iter().copied());
    command.args(["classify", "--model", model]).args(more).arg(clip);
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_model_is_found_by_name_its_licence_is_shown_once_and_the_cache_serves_offline() {
    let home = tempfile::tempdir().expect("a folder");
    let endpoint = hub();
    let first = classify(home.path(), &[("HF_ENDPOINT", &endpoint)], "owner/demo", &[]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(text(&first.stdout).contains("left"), "{}", text(&first.stdout));
    assert!(text(&first.stderr).contains("cc-by-nc-4.0"), "{}", text(&first.stderr));
    let again = classify(home.path(), &[("HF_ENDPOINT", &endpoint)], "owner/demo", &["--revision", "main"]);
    assert!(again.status.success() && again.stderr.is_empty(), "{}", text(&again.stderr));
    let offline = classify(home.path(), &[("HF_HUB_OFFLINE", "1")], "owner/demo", &[]);
    assert!(offline.status.success() && offline.stderr.is_empty(), "{}", text(&offline.stderr));
}

#[test]
fn a_model_that_cannot_be_had_says_why_and_what_to_do() {
    let home = tempfile::tempdir().expect("a folder");
    let endpoint = hub();
    let hub = [("HF_ENDPOINT", endpoint.as_str())];
    let offline = [("HF_HUB_OFFLINE", "1")];
    let cases = [
        (&hub, "owner/unknown", &[][..], "check the name"),
        (&hub, "owner/demo", &["--revision", "nowhere"], "nowhere"),
        (&offline, "owner/demo", &[], "HF_HUB_OFFLINE"),
        (&hub, "./owner", &[], "found nothing at that path"),
        (&hub, "demo-of-nobody", &[], "a name on the hub"),
    ];
    for (variables, model, more, expected) in cases {
        let output = classify(home.path(), variables, model, more);
        assert_eq!(output.status.code(), Some(1), "{model}");
        let message = text(&output.stderr);
        assert!(message.contains(expected) && message.contains(model), "{model}: {message}");
    }
}
