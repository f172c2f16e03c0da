//! What each project has, may have, and ought to have beside the others.

use std::collections::{BTreeSet, HashMap};

use super::{ClassId, Ticket};
use crate::control::clusters::Totals;
use crate::id::ProjectId;
use crate::resources::Resources;
use crate::share::{Share, Usage};

/// One whole, as shares are counted: fine enough for one job among millions.
const WHOLE: u128 = 1 << 40;

/// Where an account is kept; good for as long as its project exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AccountIndex(u32);

/// Who comes first among projects: the one that has the least of what it has most of, by weight; then the one that was served
/// longest ago.
type Standing = (u64, u64);

#[derive(Debug, Default)]
struct Account {
    share: Share,
    /// It, or its builds, have limits.
    is_limited: bool,
    usage: Usage,
    standing: Standing,
    /// Its first job of each class that may go on: not excluded by limits, and not found without a cluster since the class had one.
    lines: BTreeSet<Line>,
    /// The classes whose jobs of this project pass one of its limits by themselves.
    excluded_from: BTreeSet<ClassId>,
    /// The line whose turn it was when the limits had no room for it. Others do not go past it, also if its class has no cluster meanwhile: it
    /// would have to find both at the same time.
    blocked: Option<Line>,
    /// Nothing has happened since that could have made room for it.
    sleeps: bool,
}

/// The first job of a class.
pub(super) type Line = (Ticket, ClassId);

/// The accounts of all projects.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_project: HashMap<ProjectId, AccountIndex>,
    accounts: Vec<Account>,
    free: Vec<AccountIndex>,
    /// Those that have lines and do not sleep, the first in turn first.
    order: BTreeSet<(Standing, AccountIndex)>,
    totals: Totals,
    services: u64,
}

impl Accounts {
    /// The project's account, which is opened if need be.
    pub(super) fn index(&mut self, project: ProjectId) -> AccountIndex {
        if let Some(index) = self.by_project.get(&project) {
            return *index;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.accounts.push(Account::default());
            AccountIndex(u32::try_from(self.accounts.len() - 1).unwrap_or(u32::MAX))
        });
        self.by_project.insert(project, index);
        index
    }

    /// Closes the account of a project that has no jobs.
    pub(super) fn close(&mut self, project: ProjectId) {
        let Some(index) = self.by_project.remove(&project) else {
            return;
        };
        if let Some(account) = self.accounts.get_mut(index.0 as usize) {
            self.order.remove(&(account.standing, index));
            *account = Account::default();
            self.free.push(index);
        }
    }

    pub(super) fn usage(&self, project: ProjectId) -> Usage {
        let account = self
            .by_project
            .get(&project)
            .and_then(|index| self.accounts.get(index.0 as usize));
        account.map(|account| account.usage).unwrap_or_default()
    }

    /// The first job of the project whose turn it is, and its class.
    pub(super) fn first(&self) -> Option<(AccountIndex, Ticket, ClassId)> {
        let (_, index) = self.order.first()?;
        let (ticket, class) = self.accounts.get(index.0 as usize)?.lines.first()?;
        Some((*index, *ticket, *class))
    }

    /// The first job of a class takes part.
    pub(super) fn list(&mut self, index: AccountIndex, ticket: Ticket, class: ClassId) {
        self.change(index, |account| {
            account.lines.insert((ticket, class));
            account.wake_for_first();
        });
    }

    /// The first job of a class takes no part any more.
    pub(super) fn unlist(&mut self, index: AccountIndex, ticket: Ticket, class: ClassId) {
        self.change(index, |account| {
            let line = (ticket, class);
            account.lines.remove(&line);
            account.blocked = account.blocked.filter(|blocked| *blocked != line);
            account.wake_for_first();
        });
    }

    /// Whether jobs that take so much pass a limit of the project, or of its builds, by themselves. If so, the class is told of when these change.
    pub(super) fn excludes(&mut self, index: AccountIndex, class: ClassId, attempt: &Resources) -> bool {
        let excluded = self.is_excluded(index, attempt);
        if let Some(account) = self.accounts.get_mut(index.0 as usize).filter(|_| excluded) {
            account.excluded_from.insert(class);
        }
        excluded
    }

    /// The same without that.
    pub(super) fn is_excluded(&self, index: AccountIndex, attempt: &Resources) -> bool {
        let account = self.accounts.get(index.0 as usize).filter(|account| account.is_limited);
        account.is_some_and(|account| account.share.over(attempt).next().is_some())
    }

    /// Whether the project's limits leave room for one more attempt, which is the first in turn. If not, the project takes no part until they may.
    pub(super) fn admits(&mut self, index: AccountIndex, first: Line, attempt: &Resources) -> bool {
        let Some(account) = self.accounts.get_mut(index.0 as usize) else {
            return true;
        };
        let limits = &account.share.limits;
        let admits = limits.is_empty() || limits.passed_by(&account.usage, attempt).is_none();
        if admits {
            account.blocked = account.blocked.filter(|blocked| *blocked != first);
        } else {
            self.block(index, first);
        }
        admits
    }

    /// Has the project take no part until there may be room in a limit for the line, which is the first in turn.
    pub(super) fn block(&mut self, index: AccountIndex, first: Line) {
        self.change(index, |account| {
            account.blocked = Some(first);
            account.sleeps = true;
        });
    }

    /// Whether the line was first when the limits had no room for it.
    pub(super) fn is_blocked_by(&self, index: AccountIndex, line: Line) -> bool {
        let account = self.accounts.get(index.0 as usize);
        account.is_some_and(|account| account.blocked == Some(line))
    }

    /// The first job of the project, for which its limits have no room.
    pub(super) fn blocked_by(&self, project: ProjectId) -> Option<Ticket> {
        let index = self.by_project.get(&project)?;
        let account = self.accounts.get(index.0 as usize).filter(|account| account.sleeps)?;
        account.blocked.map(|(ticket, _)| ticket)
    }

    /// The class needs not be told any more.
    pub(super) fn let_be(&mut self, index: AccountIndex, class: ClassId) {
        if let Some(account) = self.accounts.get_mut(index.0 as usize) {
            account.excluded_from.remove(&class);
        }
    }

    /// Sets what the project may have. Which classes may go on by that.
    pub(super) fn set_share(&mut self, index: AccountIndex, share: Share) -> BTreeSet<ClassId> {
        self.weigh(index, |account| {
            account.is_limited = !share.limits.is_empty() || !share.build_limits.is_empty();
            account.share = share;
            account.sleeps = false;
        });
        let account = self.accounts.get_mut(index.0 as usize);
        account
            .map(|account| std::mem::take(&mut account.excluded_from))
            .unwrap_or_default()
    }

    /// The project was given one more attempt now.
    pub(super) fn serve(&mut self, index: AccountIndex, attempt: &Resources) {
        self.services += 1;
        let services = self.services;
        self.weigh(index, |account| {
            account.usage = account.usage.plus(attempt);
            account.standing.1 = services;
        });
    }

    /// The project has one more attempt.
    pub(super) fn charge(&mut self, index: AccountIndex, attempt: &Resources) {
        self.weigh(index, |account| account.usage = account.usage.plus(attempt));
    }

    /// The project has one attempt less.
    pub(super) fn refund(&mut self, index: AccountIndex, attempt: &Resources) {
        self.weigh(index, |account| {
            account.usage = account.usage.minus(attempt);
            account.sleeps = false;
        });
    }

    /// What there is in all may have changed.
    pub(super) fn set_totals(&mut self, totals: Totals) {
        if self.totals == totals {
            return;
        }
        self.totals = totals;
        self.order.clear();
        for (index, account) in (0_u32..).zip(&mut self.accounts) {
            account.standing.0 = level(&account.share, &account.usage, &totals);
            if let Some(standing) = account.place() {
                self.order.insert((standing, AccountIndex(index)));
            }
        }
    }

    /// Changes what an account has or may have.
    fn weigh(&mut self, index: AccountIndex, change: impl FnOnce(&mut Account)) {
        let totals = self.totals;
        self.change(index, |account| {
            change(account);
            account.standing.0 = level(&account.share, &account.usage, &totals);
        });
    }

    /// Changes an account, which has its place among the others then.
    fn change(&mut self, index: AccountIndex, change: impl FnOnce(&mut Account)) {
        let Some(account) = self.accounts.get_mut(index.0 as usize) else {
            return;
        };
        let before = account.place();
        change(account);
        let after = account.place();
        if before != after {
            if let Some(standing) = before {
                self.order.remove(&(standing, index));
            }
            if let Some(standing) = after {
                self.order.insert((standing, index));
            }
        }
    }
}

impl Account {
    /// Its place among the others, if it takes part.
    fn place(&self) -> Option<Standing> {
        (!self.lines.is_empty() && !self.sleeps).then_some(self.standing)
    }

    /// If another one comes first than the one that the limits had no room for, there may be room for that.
    fn wake_for_first(&mut self) {
        if self.sleeps && self.lines.first() != self.blocked.as_ref() {
            self.sleeps = false;
        }
    }
}

/// The part of what there is that the usage comes to, of what is used most of, by weight.
fn level(share: &Share, usage: &Usage, totals: &Totals) -> u64 {
    let part = |used: u64, all: u128| match all {
        0 => 0,
        all => u128::from(used) * WHOLE / all,
    };
    let dominant = part(u64::from(usage.attempts), totals.slots)
        .max(part(usage.resources.cpu_milli, totals.cpu_milli))
        .max(part(usage.resources.memory_bytes, totals.memory_bytes));
    u64::try_from(dominant / u128::from(share.weight.max(1))).unwrap_or(u64::MAX)
}
