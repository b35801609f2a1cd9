use netverdict_types::Probability;

/// Random numbers that are the same for the same seed (SplitMix64, Steele et al. 2014).
#[derive(Clone, Copy, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Whether a datapath's `sample` action with this probability is executed: always at `u32::MAX`, never at 0, else if a random number is
    /// not above it (net/openvswitch/actions.c, sample; lib/odp-execute.c).
    pub(super) fn falls(&mut self, probability: Probability) -> bool {
        match probability.0 {
            0 => false,
            u32::MAX => true,
            share => (self.next() >> 32) as u32 <= share,
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
