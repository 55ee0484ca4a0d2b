//! Sampling: EDM's Table 1 (arXiv 2206.00364), and which classes are sampled.

use crate::word::words;

words! {
    /// The way from one noise level to the next.
    pub enum Solver {
        /// Second order (EDM, algorithm 2): two evaluations a step.
        Heun = "heun",
        /// First order: one evaluation a step.
        Euler = "euler",
        /// Second order, multistep: one evaluation a step.
        DpmSolver2m = "dpm-solver-2m",
    }
}

words! {
    /// Which noise levels are visited: EDM, Table 1, row "Time steps".
    pub enum Discretization {
        /// EDM's own.
        Edm = "edm",
        /// Evenly in the time of the variance-preserving process.
        Vp = "vp",
        /// Geometrically.
        Ve = "ve",
        /// Those of improved DDPM's cosine schedule.
        Iddpm = "iddpm",
    }
}

words! {
    /// How the noise level depends on time: EDM, Table 1, row "Schedule".
    pub enum NoiseSchedule {
        /// `σ(t) = t`.
        Linear = "linear",
        /// That of the variance-preserving process: `σ(t) = sqrt(exp(β_d t² / 2 + β_min t) - 1)`.
        Vp = "vp",
        /// `σ(t) = sqrt(t)`.
        Ve = "ve",
    }
}

words! {
    /// How the state is scaled on its way: EDM, Table 1, row "Scaling".
    pub enum Scaling {
        /// Not at all: `s(t) = 1`.
        None = "none",
        /// To unit variance, as in the variance-preserving process: `s(t) = 1 / sqrt(1 + σ(t)²)`.
        Vp = "vp",
    }
}

words! {
    /// Which classes are sampled.
    pub enum SampleLabels {
        /// No class.
        None = "none",
        /// Classes as often as the data set has them.
        Dataset = "dataset",
        /// Each class as often as any other.
        Balanced = "balanced",
    }
}
