//! Prints who has which address: from manifests, or from a Kubernetes API server as it changes.
//!
//! ```text
//! names manifests PATH...
//! names kubernetes FILE|in-cluster [once]
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::ops::ControlFlow;

use netverdict_source::manifests::Manifests;
use netverdict_verdict::{Endpoints, NameChange};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let endpoints: Box<dyn Endpoints> = match &words[..] {
        ["manifests", paths @ ..] => {
            let manifests = Manifests::read(paths)?;
            for problem in manifests.problems() {
                eprintln!("{problem}");
            }
            Box::new(manifests)
        }
        #[cfg(feature = "kubernetes")]
        ["kubernetes", cluster, rest @ ..] => {
            use netverdict_source::{Stop, kubernetes::KubeWatch};
            let watch = KubeWatch::new(cluster.parse()?, Stop::new()?);
            match rest {
                ["once"] => Box::new(watch.once()),
                _ => Box::new(watch),
            }
        }
        _ => return Err("say which: names manifests PATH... | kubernetes FILE [once]".into()),
    };
    endpoints.run(&mut |changes| {
        for NameChange {
            network,
            ip,
            endpoint,
        } in changes
        {
            match endpoint {
                Some(endpoint) => println!(
                    "{network} {ip} {} {}{}",
                    endpoint.kind.as_str(),
                    endpoint
                        .namespace
                        .map_or(String::new(), |of| format!("{of}/")),
                    endpoint.name.unwrap_or_default()
                ),
                None => println!("{network} {ip} nobody"),
            }
        }
        ControlFlow::Continue(())
    })
}
