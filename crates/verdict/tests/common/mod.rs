//! What several tests need: a shop with its policies, and numbers that look random.
#![allow(dead_code, missing_docs, unreachable_pub)] // No test uses all of it.

pub mod random;

use std::collections::BTreeMap;
use std::sync::Arc;

use netverdict_manifest::{Key, Object, Sources};
use netverdict_pipeline::Northbound;
use netverdict_policy::{Compiler, Options, assume, cluster_subnets};
use netverdict_verdict::{Objects, northbounds};

const FILES: [(&str, &str); 2] = [
    ("cluster.yaml", include_str!("../fix/cluster.yaml")),
    ("policies.yaml", include_str!("../fix/policies.yaml")),
];

/// Manifests, read and compiled.
pub struct World {
    pub sources: Sources,
    pub objects: BTreeMap<Key, Arc<Object>>,
    pub options: Options,
    pub compiler: Compiler,
}

impl World {
    pub fn new(texts: &[(String, String)]) -> Self {
        Self::read(texts).expect("the manifests are right")
    }

    /// `None` if something in the texts is wrong.
    pub fn read(texts: &[(String, String)]) -> Option<Self> {
        Self::with(texts, Options::default())
    }

    /// The same compiled otherwise.
    pub fn with(texts: &[(String, String)], options: Options) -> Option<Self> {
        let mut sources = Sources::default();
        let mut given = Vec::new();
        for (name, text) in texts {
            let (_, reading) = sources.read(name, text.as_bytes());
            if !reading.diagnostics.is_empty() {
                return None;
            }
            given.extend(reading.objects.into_iter().map(Arc::new));
        }
        let options = Options {
            cluster_subnets: cluster_subnets(given.iter().map(AsRef::as_ref)),
            ..options
        };
        let assumed = assume(&given, &options);
        let mut compiler = Compiler::new(options.clone());
        for object in &assumed.objects {
            compiler.put(object.clone());
        }
        compiler.compile();
        let objects = assumed.objects.into_iter();
        Some(Self {
            sources,
            objects: objects.map(|object| (object.key.clone(), object)).collect(),
            options,
            compiler,
        })
    }

    pub fn objects(&self) -> Objects<'_> {
        Objects {
            objects: &self.objects,
            options: &self.options,
        }
    }

    pub fn rows(&self) -> Vec<Northbound> {
        northbounds(&self.compiler)
    }
}

/// Numbers that look random: SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % sides
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

/// The shop's manifests, by name.
pub fn texts() -> Vec<(String, String)> {
    let texts = FILES.iter();
    texts
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}
