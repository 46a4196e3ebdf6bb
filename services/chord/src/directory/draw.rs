//! The ids that the document's registry draws: those of Python's `random.randint(0, 2**m - 1)`
//! after `random.seed(0)`.

use hashring::{Circle, Id};
use rand_mt::Mt;

/// Python's generator.
pub(super) struct Draw {
    circle: Circle,
    generator: Mt,
}

impl Draw {
    /// As after `random.seed(0)`.
    pub(super) fn new(circle: Circle) -> Self {
        Self { circle, generator: Mt::new_with_key([0]) }
    }

    /// The next id, whether or not it is free.
    pub(super) fn next(&mut self) -> Id {
        loop {
            // `randint` asks for as many bits as 2^m has, and again while they make too much.
            let drawn = self.bits(self.circle.bits() + 1);
            if drawn <= u128::from(self.circle.last().0) {
                return Id(drawn as u64);
            }
        }
    }

    /// `getrandbits`: words from the least significant on, of the last one its upper bits.
    fn bits(&mut self, count: u32) -> u128 {
        let mut drawn = 0;
        for shift in (0..count).step_by(32) {
            let word = self.generator.next_u32() >> 32_u32.saturating_sub(count - shift);
            drawn |= u128::from(word) << shift;
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Python 3.11.
    #[test]
    fn ids_are_those_of_python() {
        let drawn = |bits, count| {
            let mut draw = Draw::new(Circle::new(bits));
            (0..count).map(|_| draw.next().0).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1, 4), [1, 1, 0, 1]);
        assert_eq!(drawn(5, 6), [24, 26, 2, 16, 31, 25]);
        assert_eq!(drawn(8, 6), [197, 215, 20, 132, 248, 207]);
        assert_eq!(drawn(31, 3), [1_654_615_998, 1_806_341_205, 173_879_092]);
        assert_eq!(drawn(32, 3), [3_626_764_237, 1_806_341_205, 2_195_908_194]);
        assert_eq!(drawn(33, 3), [7_921_731_533, 1_806_341_205, 6_490_875_490]);
        let sixty_three = [7_106_521_602_475_165_645, 746_805_015_404_516_437];
        assert_eq!(drawn(63, 2), sixty_three);
        let sixty_four = [7_758_176_404_715_800_194, 15_308_084_094_301_570_617];
        assert_eq!(drawn(64, 2), sixty_four);
    }
}
