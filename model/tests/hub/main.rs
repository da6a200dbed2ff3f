//! Downloads from a hub on a loopback address, which behaves as badly as a network can.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test, in helpers too")]

mod server;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use server::{COMMIT, MODEL, Manner, Server, sha256};
use tempfile::TempDir;
use videomae::{
    Error, VideoMAEConfig, VideoMAEModel,
    checkpoint::{Architecture, FreshWeights, LoadOptions, SaveOptions, save_pretrained},
    hub::{self, HubEvent, HubOptions, Snapshot, snapshot},
};

const CARD: &str = "---\nlicense: cc-by-nc-4.0\n---\n# A tiny model\n";

/// A hub with one real model, and an empty cache.
struct World {
    server: Server,
    cache: TempDir,
    options: HubOptions,
    weights: Vec<u8>,
}

impl World {
    fn new() -> Self {
        Self::with_shards(None)
    }

    fn with_shards(shard: Option<u64>) -> Self {
        let config = VideoMAEConfig {
            image_size: videomae::Size::square(8),
            patch_size: videomae::Size::square(4),
            num_frames: 4,
            hidden_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 32,
            ..VideoMAEConfig::default()
        };
        let source = tempfile::tempdir().unwrap();
        let weights = FreshWeights::new(&config, Architecture::Model, 7).unwrap();
        let options = SaveOptions { max_shard_size: shard, ..SaveOptions::default() };
        save_pretrained(source.path(), &config, Architecture::Model, &weights, &options).unwrap();
        let mut files = vec![("README.md".to_owned(), CARD.into()), ("tf_model.h5".to_owned(), vec![0; 99])];
        for entry in fs::read_dir(source.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read(&path).unwrap()));
        }
        let borrowed: Vec<(&str, Vec<u8>)> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        let server = Server::start(&borrowed);
        let cache = tempfile::tempdir().unwrap();
        let mut options = HubOptions::new(cache.path());
        options.endpoint = server.address.clone();
        options.timeout = Duration::from_millis(400);
        let weights =
            files.iter().find(|(name, _)| name == "model.safetensors").map(|(_, bytes)| bytes.clone());
        Self { server, cache, options, weights: weights.unwrap_or_default() }
    }

    fn get(&self) -> videomae::Result<Snapshot> {
        snapshot(MODEL, &self.options, &mut |_| ())
    }

    fn message(&self) -> String {
        self.get().unwrap_err().to_string()
    }

    fn repo(&self) -> std::path::PathBuf {
        self.cache.path().join("models--owner--tiny-videomae")
    }

    /// The weights are what the hub has, and a model can be made of them.
    #[track_caller]
    fn assert_whole(&self, snapshot: &Snapshot) {
        assert_eq!(fs::read(snapshot.path.join("model.safetensors")).unwrap(), self.weights);
        let backend = kernels::open("reference").unwrap();
        VideoMAEModel::from_pretrained(&snapshot.path, backend, &LoadOptions::default()).unwrap();
    }
}

/// Names of all files below a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_model_is_downloaded_once_into_the_layout_that_all_programs_share() {
    let world = World::new();
    let mut events = Vec::new();
    let first = snapshot(MODEL, &world.options, &mut |event| {
        if let HubEvent::File { name, done, bytes } = event {
            events.push((name.to_owned(), done, bytes));
        }
    })
    .unwrap();
    world.assert_whole(&first);
    assert!(first.downloaded && first.is_non_commercial());
    assert_eq!(first.path, world.repo().join("snapshots").join(COMMIT));
    assert_eq!(fs::read_to_string(world.repo().join("refs/main")).unwrap(), COMMIT);
    assert_eq!(names(&first.path), ["README.md", "config.json", "model.safetensors"]);
    assert_eq!(events.last().unwrap(), &("model.safetensors".to_owned(), 0, world.weights.len() as u64));
    let blobs = names(&world.repo().join("blobs"));
    assert!(blobs.contains(&sha256(&world.weights)), "{blobs:?}");
    assert!(!blobs.iter().any(|name| name.ends_with(".lock") || name.ends_with(".incomplete")), "{blobs:?}");

    let before = world.server.requests().len();
    let second = world.get().unwrap();
    assert_eq!(second, Snapshot { downloaded: false, ..first });
    assert_eq!(world.server.requests().len(), before + 1, "only the revision is asked for again");
}

#[test]
fn shards_follow_their_index() {
    let world = World::with_shards(Some(4096));
    let snapshot = world.get().unwrap();
    let shards = names(&snapshot.path).iter().filter(|name| name.contains("-of-")).count();
    assert!(shards > 1);
    let backend = kernels::open("reference").unwrap();
    VideoMAEModel::from_pretrained(&snapshot.path, backend, &LoadOptions::default()).unwrap();
}

#[test]
fn a_cut_connection_goes_on_where_it_stopped() {
    let world = World::new();
    world.server.behave(Manner::CutAfter(world.weights.len() / 4 + 1));
    let mut retries = 0;
    let mut bytes = 0;
    let snapshot = snapshot(MODEL, &world.options, &mut |event| match event {
        HubEvent::Retry { .. } => retries += 1,
        HubEvent::Bytes(count) => bytes += count,
        _ => {}
    })
    .unwrap();
    world.assert_whole(&snapshot);
    assert_eq!(retries, 3);
    let small: u64 = ["README.md", "config.json"]
        .map(|name| fs::metadata(snapshot.path.join(name)).unwrap().len())
        .iter()
        .sum();
    assert_eq!(bytes, small + world.weights.len() as u64, "no byte comes twice");
}

#[test]
fn an_interrupted_program_leaves_what_the_next_one_goes_on_with() {
    let world = World::new();
    let blobs = world.repo().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let half = world.weights.len() / 2;
    let part = blobs.join(format!("{}.incomplete", sha256(&world.weights)));
    fs::write(&part, &world.weights[..half]).unwrap();
    let mut resumed = 0;
    let snapshot = snapshot(MODEL, &world.options, &mut |event| {
        if let HubEvent::File { name: "model.safetensors", done, .. } = event {
            resumed = done;
        }
    })
    .unwrap();
    assert_eq!(resumed, half as u64);
    world.assert_whole(&snapshot);
}

#[test]
fn a_remainder_of_another_file_is_noticed_and_replaced() {
    for length in [10, 1 << 20] {
        let world = World::new();
        let blobs = world.repo().join("blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", sha256(&world.weights))), vec![7; length]).unwrap();
        let snapshot = match world.get() {
            Ok(snapshot) => snapshot,
            // Too short to be told from a real beginning but by the hash of the whole.
            Err(error) => {
                assert!(error.to_string().contains("SHA-256"), "{error}");
                world.get().unwrap()
            }
        };
        world.assert_whole(&snapshot);
    }
}

#[test]
fn servers_that_ignore_ranges_or_pause_or_are_busy_are_put_up_with() {
    for manner in [Manner::NoRanges, Manner::Slow, Manner::Busy] {
        let world = World::new();
        world.server.behave(manner);
        let snapshot = world.get().unwrap_or_else(|error| panic!("{manner:?}: {error}"));
        world.assert_whole(&snapshot);
    }
}

#[test]
fn what_is_not_the_file_never_gets_its_name() {
    for (manner, expected) in [
        (Manner::Corrupt, "SHA-256"),
        (Manner::WrongRange, "Content-Range"),
        (Manner::CutAfter(0), "bytes, found 0"),
        (Manner::Silent, "timeout"),
    ] {
        let world = World::new();
        world.server.behave(manner);
        let start = Instant::now();
        let message = world.message();
        assert!(message.contains(expected), "{manner:?}: {message}");
        assert!(message.contains("model.safetensors"), "{manner:?}: {message}");
        assert!(start.elapsed() < Duration::from_secs(20), "{manner:?}: {:?}", start.elapsed());
        assert!(!world.repo().join("blobs").join(sha256(&world.weights)).exists(), "{manner:?}");
        assert!(!world.repo().join("refs/main").exists(), "{manner:?}: an incomplete model has no name");
        // And the next try, with a better network, is right.
        world.server.behave(Manner::Whole);
        world.assert_whole(&world.get().unwrap());
    }
}

#[test]
fn a_body_longer_than_announced_is_cut_at_the_size_of_the_file() {
    let world = World::new();
    world.server.behave(Manner::TooMany);
    match world.get() {
        Ok(snapshot) => world.assert_whole(&snapshot),
        Err(error) => assert!(error.to_string().contains("more than it announced"), "{error}"),
    }
}

#[test]
fn refusals_say_what_to_do() {
    for (status, advice) in [(401, "HF_TOKEN"), (403, "accept the conditions"), (404, "check the name")] {
        let world = World::new();
        world.server.refuse(status);
        let message = world.message();
        assert!(message.contains(&status.to_string()) && message.contains(advice), "{message}");
        assert!(message.contains(MODEL), "{message}");
    }
}

#[test]
fn a_revision_is_asked_for_by_its_name_and_an_unknown_one_is_refused() {
    let mut world = World::new();
    world.options.revision = "refs/pr/1".to_owned();
    world.get().unwrap();
    assert_eq!(fs::read_to_string(world.repo().join("refs/refs/pr/1")).unwrap(), COMMIT);
    world.options.revision = "nowhere".to_owned();
    assert!(world.message().contains("revision"), "{}", world.message());
    world.options.revision = COMMIT.to_owned();
    world.get().unwrap();
    world.options.offline = true;
    assert_eq!(world.get().unwrap().path, world.repo().join("snapshots").join(COMMIT));
}

#[test]
fn a_token_opens_the_hub_and_is_not_sent_to_where_it_redirects() {
    let mut world = World::new();
    world.server.require("secret");
    assert!(world.message().contains("HF_TOKEN"));
    world.options.token = Some("secret".to_owned());
    let store = Server::start(&[("model.safetensors", world.weights.clone())]);
    world.server.store_in(&store);
    world.assert_whole(&world.get().unwrap());
    assert_eq!(store.count("GET"), 1);
    assert!(store.requests().iter().all(|request| !request.contains("secret")), "{:?}", store.requests());
    assert!(world.server.count("HEAD") > 0);
}

#[test]
fn the_cache_serves_without_a_network() {
    let mut world = World::new();
    world.options.offline = true;
    assert!(world.message().contains("HF_HUB_OFFLINE"), "{}", world.message());
    assert!(world.server.requests().is_empty(), "offline means that nobody is asked");
    world.options.offline = false;
    let first = world.get().unwrap();
    let cached = Snapshot { downloaded: false, ..first };
    world.options.offline = true;
    assert_eq!(world.get().unwrap(), cached);
    // A hub that cannot be reached is replaced by the cache, and that is said.
    world.options.offline = false;
    world.options.endpoint = "http://127.0.0.1:9".to_owned();
    let mut said = false;
    let again = snapshot(MODEL, &world.options, &mut |event| {
        said |= matches!(event, HubEvent::Cached { .. });
    });
    assert_eq!(again.unwrap(), cached);
    assert!(said);
    // But a copy without its weights is none.
    fs::remove_file(cached.path.join("model.safetensors")).unwrap();
    let message = world.message();
    assert!(message.contains("no complete copy") && message.contains("127.0.0.1:9"), "{message}");
}

#[test]
fn one_file_of_a_model_comes_without_the_rest() {
    let mut world = World::new();
    let get = |options: &HubOptions| hub::model_file(MODEL, "tf_model.h5", options, &mut |_| ());
    let path = get(&world.options).unwrap();
    assert_eq!(fs::read(&path).unwrap(), vec![0; 99]);
    assert!(path.starts_with(world.cache.path().join("models--owner--tiny-videomae")), "{path:?}");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    world.options.offline = true;
    assert_eq!(get(&world.options).unwrap(), path);
}

#[test]
fn a_file_of_a_dataset_has_a_folder_of_its_own_in_the_cache() {
    let mut world = World::new();
    let get = |options: &HubOptions, file| hub::dataset_file(MODEL, file, options, &mut |_| ());
    let path = get(&world.options, "tf_model.h5").unwrap();
    assert_eq!(fs::read(&path).unwrap(), vec![0; 99]);
    assert!(path.starts_with(world.cache.path().join("datasets--owner--tiny-videomae")), "{path:?}");
    assert_eq!(world.server.count("GET /datasets/"), 1);
    world.options.offline = true;
    assert_eq!(get(&world.options, "tf_model.h5").unwrap(), path);
    let message = get(&world.options, "other.npy").unwrap_err().to_string();
    assert!(message.contains("HF_HUB_OFFLINE"), "{message}");
    assert!(get(&world.options, "../tf_model.h5").unwrap_err().to_string().contains("letters"));
}

#[test]
fn hubs_that_talk_nonsense_are_refused() {
    for endpoint in ["no address", "http://", "ftp://127.0.0.1"] {
        let mut world = World::new();
        world.options.endpoint = endpoint.to_owned();
        assert!(matches!(world.get(), Err(Error::Hub { .. })), "{endpoint}");
    }
    let world = World::new();
    let message = snapshot("../../etc", &world.options, &mut |_| ()).unwrap_err().to_string();
    assert!(message.contains("../../etc"), "{message}");
    assert!(world.server.requests().is_empty());
}
