#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netverdict_ovsdb::fuzz::frames(data));
