//! Who is measured when: rounds in which each contender has one turn, in an order drawn for the round.

use super::draw::Draw;

/// How often contenders take turns, and what their orders are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Schedule {
    /// Rounds before those that count: files come into memory, directories of state are made.
    pub warm_up: u32,
    /// Rounds that count.
    pub rounds: u32,
    /// What the orders are drawn from.
    pub seed: u64,
}

/// Each contender's turn, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Its number among those that count; `None` while warming up.
    pub number: Option<u32>,
    /// The contenders' indices, in the order of their turns.
    pub order: Vec<usize>,
}

impl Schedule {
    /// All rounds, those of the warm-up first.
    pub fn of(self, contenders: usize) -> impl Iterator<Item = Round> {
        let mut draw = Draw::seeded(self.seed);
        let warm_up = (0..self.warm_up).map(|_| None);
        warm_up.chain((0..self.rounds).map(Some)).map(move |number| {
            let mut order: Vec<usize> = (0..contenders).collect();
            draw.shuffle(&mut order);
            Round { number, order }
        })
    }

    /// How many rounds there are in all.
    pub fn total(self) -> u32 {
        self.warm_up.saturating_add(self.rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_seed_gives_the_same_orders_and_another_gives_others() {
        let orders =
            |seed| -> Vec<Round> { Schedule { warm_up: 1, rounds: 20, seed }.of(5).collect() };
        assert_eq!(orders(1), orders(1));
        assert_ne!(orders(1), orders(2));
    }

    proptest! {
        #[test]
        fn each_contender_has_one_turn_a_round(
            warm_up in 0_u32..4, rounds in 0_u32..30, seed: u64, contenders in 0_usize..12
        ) {
            let all: Vec<Round> = Schedule { warm_up, rounds, seed }.of(contenders).collect();
            let counted: Vec<u32> = all.iter().filter_map(|round| round.number).collect();
            prop_assert_eq!(counted, (0..rounds).collect::<Vec<_>>());
            prop_assert!(all.iter().take(warm_up as usize).all(|round| round.number.is_none()));
            for mut round in all {
                round.order.sort_unstable();
                prop_assert_eq!(round.order, (0..contenders).collect::<Vec<_>>());
            }
        }
    }
}
