//! Random questions: the embedded store answers as plain loops do, whatever it did in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests.

use netverdict_store::judge::Judge;
use netverdict_store_parquet::{Options, ParquetStore};

fn options(directory: &tempfile::TempDir) -> Options {
    let mut options = Options::new(directory.path());
    options.seal_rows = 300;
    options
}

fn run(seed: u64, connections: usize, questions: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let mut store = ParquetStore::open(options(&directory)).unwrap();
        let mut judge = Judge::new(seed, connections);
        let mut step = 0;
        while judge.append(&store).await.unwrap() {
            step += 1;
            match (seed + step) % 5 {
                1 => store.settle().await.unwrap(),
                3 => {
                    drop(store);
                    store = ParquetStore::open(options(&directory)).unwrap();
                }
                _ => {}
            }
            for _ in 0..questions {
                if let Err(difference) = judge.ask(&store).await {
                    panic!("{difference}");
                }
            }
        }
        store.settle().await.unwrap();
        for _ in 0..questions * 4 {
            if let Err(difference) = judge.ask(&store).await {
                panic!("{difference}");
            }
        }
        if let Err(difference) = judge.pages(&store).await {
            panic!("{difference}");
        }
    });
}

#[test]
fn answers_as_plain_loops_do() {
    let seeds = std::env::var("N")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(4);
    for seed in 0..seeds {
        run(seed, 400, 6);
    }
}
