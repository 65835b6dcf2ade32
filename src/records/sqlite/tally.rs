//! How many studies each block of rows shows, in memory, so that a deep page does not pass over all that stands before it one by one (WEB-094).
//!
//! SQLite tells of every row of an instance that the writer changes, whichever command it was. Why no count is ever believed that is
//! not true: a question takes the clock before its view of the records begins, and believes or leaves counts of a block only after that, and
//! only if the block was last told of before. A block that a commit touches is believed by nobody from before the commit until after it, and the
//! clock goes on then. So each commit that touched a block which is believed had either ended before the question took the clock, and is in
//! its view; or had not begun when the question looked at the block, and is not in its view. The same holds of whoever left the count, and
//! a commit in between would have taken it away.

use super::rows::{Fault, count};
use super::sharing::Look;
use rusqlite::hooks::Action;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rows of studies in a block: rows are numbered from 1 without gaps.
const BLOCK: i64 = if cfg!(test) { 2 } else { 1000 };

/// Most blocks that are remembered, of 16 bytes each; what comes behind them is walked over.
const MOST: usize = 100_000;

/// When a block changed that a commit is changing: never yet.
const CHANGING: u64 = u64::MAX;

#[derive(Clone, Default)]
struct Block {
    /// When it changed last.
    changed: u64,
    /// The studies that it shows here and to another site, if they were counted since: [`Look::kept`] has these two forms.
    shown: [Option<u16>; 2],
}

#[derive(Default)]
struct Blocks {
    /// Counts the commits.
    now: u64,
    all: Vec<Block>,
}

/// What is remembered. By default it is nothing, for records that may be changed by who does not tell.
#[derive(Default)]
pub(in crate::records) struct Tally {
    most: usize,
    blocks: Mutex<Blocks>,
    /// The instances that the open transaction has touched.
    touched: Arc<Mutex<Vec<i64>>>,
}

/// A question, and when it was put.
pub(in crate::records) struct Asked {
    tally: Arc<Tally>,
    at: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn block_of(study: i64) -> usize {
    usize::try_from(study / BLOCK).unwrap_or(0)
}

fn begin_of(block: usize) -> i64 {
    i64::try_from(block).unwrap_or(i64::MAX).saturating_mul(BLOCK)
}

impl Tally {
    /// Of what changes by this connection, which alone writes.
    pub(in crate::records) fn watch(conn: &mut Connection) -> rusqlite::Result<Arc<Self>> {
        let tally = Self { most: MOST, ..Self::default() };
        let touched = tally.touched.clone();
        conn.update_hook(Some(move |_: Action, _: &str, table: &str, row| {
            if table == "instances" {
                lock(&touched).push(row);
            }
        }))?;
        Ok(Arc::new(tally))
    }

    /// A transaction begins: what was touched before it was committed or undone.
    pub(in crate::records) fn begin(&self) {
        lock(&self.touched).clear();
    }

    /// The blocks that the open transaction touches, which nobody believes from now on. To be called right before it is committed.
    pub(in crate::records) fn changing(&self, conn: &Connection) -> rusqlite::Result<BTreeSet<usize>> {
        let touched = std::mem::take(&mut *lock(&self.touched));
        if touched.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut find = conn.prepare_cached("SELECT study FROM instances WHERE id = ?1")?;
        let mut changing = BTreeSet::new();
        for instance in touched {
            // Rows are never deleted: one that is missing was made by a command that was undone.
            let study = find.query_row([instance], |row| row.get(0)).optional()?;
            changing.extend(study.map(block_of).filter(|block| *block < self.most));
        }
        let mut blocks = lock(&self.blocks);
        let len = changing.last().map_or(0, |last| last + 1).max(blocks.all.len());
        blocks.all.resize_with(len, Block::default);
        for block in &changing {
            blocks.all[*block] = Block { changed: CHANGING, shown: [None; 2] };
        }
        Ok(changing)
    }

    /// They are committed. After a commit that failed nobody believes them until the next that touches them.
    pub(in crate::records) fn changed(&self, changing: &BTreeSet<usize>) {
        let mut blocks = lock(&self.blocks);
        blocks.now += 1;
        for block in changing {
            blocks.all[*block].changed = blocks.now;
        }
    }

    /// To be called before the view begins in which the question is answered.
    pub(in crate::records) fn ask(self: &Arc<Self>) -> Asked {
        Asked { tally: self.clone(), at: lock(&self.blocks).now }
    }
}

impl Asked {
    /// Passes over the blocks that show no more than `left` studies together: where the next begins, and how many are still to be passed.
    pub(in crate::records) fn pass(&self, conn: &Connection, look: &Look, mut left: u64) -> Result<(i64, u64), Fault> {
        let (mut view, mut at) = (self.view(conn, look)?, 0);
        while let Some(shown) = view.shown(at)?.filter(|shown| *shown <= left) {
            (left, at) = (left - shown, at + 1);
        }
        view.leave();
        Ok((begin_of(at), left))
    }

    /// How many studies are shown behind a row.
    pub(in crate::records) fn behind(&self, conn: &Connection, look: &Look, row: i64) -> Result<u64, Fault> {
        let (mut view, mut at) = (self.view(conn, look)?, block_of(row).saturating_add(1));
        let mut all = between(conn, look, row.saturating_add(1), begin_of(at))?;
        while let Some(shown) = view.shown(at)? {
            (all, at) = (all + shown, at + 1);
        }
        view.leave();
        Ok(all + between(conn, look, begin_of(at), i64::MAX)?)
    }

    fn view<'a>(&'a self, conn: &'a Connection, look: &'a Look) -> Result<View<'a>, Fault> {
        // The view has begun with this at the latest; only then is looked at what is known.
        let mut find = conn.prepare_cached("SELECT max(id) FROM studies")?;
        let last: Option<i64> = find.query_row([], |row| row.get(0))?;
        let end = last.map_or(0, |last| block_of(last).saturating_add(1)).min(self.tally.most);
        let whose = usize::from(look.is_of_another_site());
        let believed = |block: &Block| block.shown[whose].filter(|_| block.changed <= self.at);
        let known = lock(&self.tally.blocks).all.iter().map(believed).collect();
        Ok(View { asked: self, conn, look, whose, end, known, counted: Vec::new() })
    }
}

/// What is believed in one view of the records, and what was counted in it.
struct View<'a> {
    asked: &'a Asked,
    conn: &'a Connection,
    look: &'a Look,
    whose: usize,
    end: usize,
    known: Vec<Option<u16>>,
    counted: Vec<(usize, u16)>,
}

impl View<'_> {
    /// How many studies a block shows; `None` behind the last block.
    fn shown(&mut self, at: usize) -> Result<Option<u64>, Fault> {
        if at >= self.end {
            return Ok(None);
        }
        if let Some(shown) = self.known.get(at).copied().flatten() {
            return Ok(Some(u64::from(shown)));
        }
        let shown = between(self.conn, self.look, begin_of(at), begin_of(at + 1))?;
        self.counted.extend(u16::try_from(shown).map(|shown| (at, shown)));
        Ok(Some(shown))
    }

    /// Leaves what was counted to later questions.
    fn leave(self) {
        let Some(end) = self.counted.iter().map(|(at, _)| at + 1).max() else { return };
        let mut blocks = lock(&self.asked.tally.blocks);
        let len = end.max(blocks.all.len());
        blocks.all.resize_with(len, Block::default);
        for (at, shown) in self.counted {
            let block = &mut blocks.all[at];
            if block.changed <= self.asked.at {
                block.shown[self.whose] = Some(shown);
            }
        }
    }
}

/// How many studies are shown from a row to before another.
fn between(conn: &Connection, look: &Look, from: i64, to: i64) -> Result<u64, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "SELECT count(*) FROM studies s WHERE s.id >= ?1 AND s.id < ?2 \
         AND EXISTS (SELECT 1 FROM instances i WHERE i.study = s.id AND {})",
        look.kept()
    ))?;
    Ok(count(find.query_row(params![from, to], |row| row.get(0))?))
}
