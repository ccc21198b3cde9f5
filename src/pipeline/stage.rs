//! How the pipeline's threads work: each has a stage, waits for work, and does it piece by piece. Between two pieces
//! other stages may do anything, as threads do; who has all stages in hand (`net/by_hand.rs`) chooses the order.

/// A part of the pipeline.
pub(super) trait Stage {
    /// What it is given.
    type Work;

    /// Waits for work; `None` when there will be none any more.
    fn wait(&mut self) -> Option<Self::Work>;

    /// The same without waiting: `None` when there is none yet.
    fn look(&mut self) -> Option<Self::Work>;

    /// Does the first piece of some work.
    fn begin(&mut self, work: Self::Work);

    /// Does the next piece of what was begun; false when nothing is left of it.
    fn advance(&mut self) -> bool;

    /// Finishes what is left after the last work.
    fn end(self)
    where
        Self: Sized,
    {
    }
}

/// Works until there will be no more work.
pub(super) fn run(mut stage: impl Stage) {
    while let Some(work) = stage.wait() {
        stage.begin(work);
        while stage.advance() {}
    }
    stage.end();
}

/// Does one piece of work, if there is one.
pub(super) fn step(stage: &mut impl Stage) -> bool {
    if stage.advance() {
        return true;
    }
    let work = stage.look();
    let is_some = work.is_some();
    work.into_iter().for_each(|work| stage.begin(work));
    is_some
}
