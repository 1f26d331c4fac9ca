//! States of a network after its last runs on the same input, and what they will be after many more.

use std::collections::VecDeque;

use ort::value::DynValue;

/// Runs in a row from which the states are extrapolated.
const RUNS: usize = 3;

/// Largest ratio of two changes in a row: below 1, so that every extrapolation has a limit.
const MAX_RATIO: f32 = 0.9999;

/// Copies of the state tensors after the last three runs.
#[derive(Default)]
pub struct StateHistory {
    /// Oldest first; the values of all tensors, one after another.
    states: VecDeque<Vec<f32>>,
}

impl StateHistory {
    /// Takes the states after the next run.
    ///
    /// # Errors
    /// If a state has no `f32` values.
    pub fn push(&mut self, states: &[DynValue]) -> ort::Result<()> {
        let mut copy =
            if self.states.len() < RUNS { Vec::new() } else { self.states.pop_front().unwrap_or_default() };
        copy.clear();
        for state in states {
            copy.extend_from_slice(state.try_extract_tensor::<f32>()?.1);
        }
        self.states.push_back(copy);
        Ok(())
    }

    /// Forgets all states.
    pub fn clear(&mut self) {
        self.states.clear();
    }

    /// Changes `states`, which are those after the last run, to what they are after `runs` more, and forgets the history.
    ///
    /// Each value goes on as a geometric sequence through its last three (Aitken, 1926): with changes `d0`, `d1` and their
    /// ratio `r`, it changes by `d1·(r + r² + … + r^runs)`. With fewer than three runs the states stay as they are.
    ///
    /// # Errors
    /// If a state has no `f32` values.
    pub fn extrapolate(&mut self, states: &mut [DynValue], runs: f32) -> ort::Result<()> {
        if let [oldest, older, newest] = self.states.make_contiguous() {
            let mut values = oldest.iter().zip(&*older).zip(&*newest);
            for state in states {
                let (_, state) = state.try_extract_tensor_mut::<f32>()?;
                for (value, ((oldest, older), newest)) in state.iter_mut().zip(&mut values) {
                    *value = continue_sequence([*oldest, *older, *newest], runs);
                }
            }
        }
        self.clear();
        Ok(())
    }
}

/// Returns the element of the geometric sequence `[oldest, older, newest]` that is `steps` after the newest.
fn continue_sequence([oldest, older, newest]: [f32; 3], steps: f32) -> f32 {
    let (before, change) = (older - oldest, newest - older);
    if before == 0.0 || change == 0.0 {
        return newest;
    }
    let ratio = (change / before).clamp(0.0, MAX_RATIO);
    newest + change * ratio * (1.0 - ratio.powf(steps)) / (1.0 - ratio)
}

#[cfg(test)]
mod tests {
    use ort::value::Tensor;

    use super::*;

    #[test]
    fn sequence_that_decays_reaches_its_later_elements() {
        let element = |at: f32| 3.0 - 2.0 * 0.9_f32.powf(at);
        for steps in [1.0, 2.0, 10.0, 1000.0] {
            let later = continue_sequence([element(0.0), element(1.0), element(2.0)], steps);
            assert!((later - element(2.0 + steps)).abs() < 1e-4, "{steps}: {later}");
        }
    }

    #[test]
    fn sequence_that_does_not_decay_stays_bounded() {
        assert_eq!(continue_sequence([1.0; 3], 1e6), 1.0);
        assert_eq!(continue_sequence([0.0, 1.0, 0.0], 1e6), 0.0, "it oscillates");
        assert!(continue_sequence([0.0, 1.0, 3.0], 1e9) <= 3.0 + 2.0 / (1.0 - MAX_RATIO));
    }

    #[test]
    fn states_go_on_only_after_three_runs() {
        let tensor = |value: f32| Tensor::from_array(([2], vec![value, 1.0])).unwrap().into_dyn();
        let mut history = StateHistory::default();
        let mut states = [tensor(0.25)];
        let value = |states: &[DynValue]| states[0].try_extract_tensor::<f32>().unwrap().1.to_vec();
        for before in [1.0, 0.5] {
            history.push(&[tensor(before)]).unwrap();
        }
        history.extrapolate(&mut states, 2.0).unwrap();
        assert_eq!(value(&states), [0.25, 1.0], "two runs");
        for before in [8.0, 1.0, 0.5, 0.25] {
            history.push(&[tensor(before)]).unwrap();
        }
        history.extrapolate(&mut states, 2.0).unwrap();
        assert_eq!(value(&states), [0.0625, 1.0]);
    }
}
