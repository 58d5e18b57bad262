//! Container images without a container engine: an OCI layout in a tar, made from static programs.
//!
//! One layer, no base. The same programs give the same bytes: no time, no owner, files in the order given.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, Digest, HistoryBuilder, ImageConfigurationBuilder, ImageIndexBuilder,
    ImageManifestBuilder, MediaType, OciLayoutBuilder, Os, Platform, PlatformBuilder, RootFsBuilder,
};
use sha2::{Digest as _, Sha256};

/// The image of the product, as the manifests name it.
pub const FERRITELB: &str = concat!("ghcr.io/ferritelb/ferritelb:v", env!("CARGO_PKG_VERSION"));
/// The lab's web and echo server.
pub const PODSRV: &str = "ferritelb.io/lab/podsrv:dev";
/// What holds a pod's namespaces.
pub const PAUSE: &str = "ferritelb.io/lab/pause:dev";

/// An image in the making.
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    entrypoint: Vec<String>,
    user: String,
}

impl Image {
    /// An empty one; `name` is the whole reference with its tag.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), files: Vec::new(), entrypoint: Vec::new(), user: String::new() }
    }

    /// With the program `name` of `folder`, as `/name`.
    #[must_use]
    #[track_caller]
    pub fn program(mut self, folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.files.push((name.to_owned(), bytes));
        self
    }

    /// With what runs when a pod gives no command.
    #[must_use]
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// With the user as whom it runs, as `uid:gid`.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// The whole reference.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes the tar that `ctr images import` and `skopeo` read.
    #[track_caller]
    pub fn write(&self, path: &Path) {
        let bytes = self.tar();
        fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn tar(&self) -> Vec<u8> {
        let layer = archive(self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice(), 0o755)));
        let config = json(&self.config(&layer));
        let packed = gzip(&layer);
        let manifest = ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(MediaType::ImageConfig, &config))
            .layers(vec![descriptor(MediaType::ImageLayerGzip, &packed)])
            .build()
            .expect("every field of a manifest is set");
        let manifest = json(&manifest);
        let index = json(&self.index(&manifest));
        let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build();
        let layout = json(&layout.expect("a layout is a version"));
        let blob = |bytes: &[u8]| format!("blobs/sha256/{}", hex(bytes));
        let names = [blob(&config), blob(&packed), blob(&manifest)];
        archive([
            ("oci-layout", &*layout, 0o644),
            ("index.json", &index, 0o644),
            (&names[0], &config, 0o644),
            (&names[1], &packed, 0o644),
            (&names[2], &manifest, 0o644),
        ])
    }

    fn config(&self, layer: &[u8]) -> impl serde::Serialize + use<> {
        let run = ConfigBuilder::default().entrypoint(self.entrypoint.clone()).user(self.user.clone());
        let root = RootFsBuilder::default().typ("layers").diff_ids(vec![format!("sha256:{}", hex(layer))]);
        let history = HistoryBuilder::default().created_by("an OCI layout without an engine");
        ImageConfigurationBuilder::default()
            .architecture(architecture())
            .os(Os::Linux)
            .config(run.build().expect("every field has a default"))
            .rootfs(root.build().expect("every field is set"))
            .history(vec![history.build().expect("every field has a default")])
            .build()
            .expect("every field of a configuration is set")
    }

    fn index(&self, manifest: &[u8]) -> impl serde::Serialize + use<> {
        let mut entry = descriptor(MediaType::ImageManifest, manifest);
        entry.set_platform(Some(platform()));
        entry.set_annotations(Some([("io.containerd.image.name".to_owned(), self.name.clone())].into()));
        ImageIndexBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageIndex)
            .manifests(vec![entry])
            .build()
            .expect("every field of an index is set")
    }
}

/// The product: both programs in one image, run by whichever command the pod names, and not as root.
#[must_use]
#[track_caller]
pub fn ferritelb(programs: &Path) -> Image {
    Image::new(FERRITELB)
        .program(programs, "ferrite-controller")
        .program(programs, "ferrite-speaker")
        .entrypoint(&["/ferrite-controller"])
        .user("65532:65532")
}

/// The server that the lab's pods run.
#[must_use]
#[track_caller]
pub fn podsrv(programs: &Path) -> Image {
    Image::new(PODSRV).program(programs, "podsrv").entrypoint(&["/podsrv"]).user("65532:65532")
}

/// The same program, waiting.
#[must_use]
#[track_caller]
pub fn pause(programs: &Path) -> Image {
    Image::new(PAUSE).program(programs, "podsrv").entrypoint(&["/podsrv", "pause"]).user("65535:65535")
}

fn architecture() -> Arch {
    match std::env::consts::ARCH {
        "aarch64" => Arch::ARM64,
        _ => Arch::Amd64,
    }
}

fn platform() -> Platform {
    PlatformBuilder::default().architecture(architecture()).os(Os::Linux).build().expect("every field is set")
}

fn descriptor(kind: MediaType, blob: &[u8]) -> Descriptor {
    let digest: Digest = format!("sha256:{}", hex(blob)).parse().expect("a SHA-256 in hex is a digest");
    Descriptor::new(kind, blob.len() as u64, digest)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("an OCI document is JSON")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

fn archive<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8], u32)>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes, mode) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_mtime(0);
        tar.append_data(&mut header, name, bytes).expect("memory takes every byte");
    }
    tar.into_inner().expect("memory takes every byte")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn sample() -> Image {
        let mut image = Image::new("example.com/x:1").entrypoint(&["/x"]).user("1:1");
        image.files.push(("x".to_owned(), b"a program".to_vec()));
        image
    }

    fn unpack(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(bytes);
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn the_same_programs_give_the_same_bytes() {
        assert_eq!(sample().tar(), sample().tar());
    }

    #[test]
    fn every_digest_leads_to_a_blob_with_that_digest_down_to_the_program() {
        let files = unpack(&sample().tar());
        let parsed = |name: &str| serde_json::from_slice::<serde_json::Value>(&files[name]).unwrap();
        let blob = |value: &serde_json::Value| {
            let name = value["digest"].as_str().unwrap().replace(':', "/");
            let name = format!("blobs/{name}");
            assert_eq!(name, format!("blobs/sha256/{}", hex(&files[&name])));
            assert_eq!(value["size"].as_u64().unwrap(), files[&name].len() as u64);
            name
        };
        let index = parsed("index.json");
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "example.com/x:1");
        let manifest = parsed(&blob(&index["manifests"][0]));
        let config = parsed(&blob(&manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"][0], "/x");
        let layer = &files[&blob(&manifest["layers"][0])];
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&layer[..]).read_to_end(&mut plain).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&plain)));
        assert_eq!(unpack(&plain)["x"], b"a program");
    }
}
