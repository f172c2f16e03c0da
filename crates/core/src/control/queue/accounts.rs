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
    usage: Usage,
    standing: Standing,
    /// Its first job of each class that may go on: not held by limits, and not found without a cluster since the class had one.
    lines: BTreeSet<(Ticket, ClassId)>,
    /// The classes whose jobs of this project its limits leave no room for.
    held_in: BTreeSet<ClassId>,
}

/// The accounts of all projects.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_project: HashMap<ProjectId, AccountIndex>,
    accounts: Vec<Account>,
    free: Vec<AccountIndex>,
    /// Those that have lines, the first in turn first.
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
        if let Some(account) = self.accounts.get_mut(index.0 as usize) {
            if account.lines.is_empty() {
                self.order.insert((account.standing, index));
            }
            account.lines.insert((ticket, class));
        }
    }

    /// The first job of a class takes no part any more.
    pub(super) fn unlist(&mut self, index: AccountIndex, ticket: Ticket, class: ClassId) {
        if let Some(account) = self.accounts.get_mut(index.0 as usize) {
            account.lines.remove(&(ticket, class));
            if account.lines.is_empty() {
                self.order.remove(&(account.standing, index));
            }
        }
    }

    /// Whether the project's limits leave room for one more attempt. If not, the class is told of when they may again.
    pub(super) fn admits(&mut self, index: AccountIndex, class: ClassId, attempt: &Resources) -> bool {
        let Some(account) = self.accounts.get_mut(index.0 as usize) else {
            return true;
        };
        let limits = &account.share.limits;
        let admits = limits.is_empty() || limits.passed_by(&account.usage, attempt).is_none();
        if !admits {
            account.held_in.insert(class);
        }
        admits
    }

    /// The class needs not be told any more.
    pub(super) fn let_be(&mut self, index: AccountIndex, class: ClassId) {
        if let Some(account) = self.accounts.get_mut(index.0 as usize) {
            account.held_in.remove(&class);
        }
    }

    /// Sets what the project may have. Which classes may go on by that.
    pub(super) fn set_share(&mut self, index: AccountIndex, share: Share) -> BTreeSet<ClassId> {
        self.change(index, |account| account.share = share);
        self.let_go_on(index)
    }

    /// The project was given one more attempt now.
    pub(super) fn serve(&mut self, index: AccountIndex, attempt: &Resources) {
        self.services += 1;
        let services = self.services;
        self.change(index, |account| {
            account.usage = account.usage.plus(attempt);
            account.standing.1 = services;
        });
    }

    /// The project has one more attempt.
    pub(super) fn charge(&mut self, index: AccountIndex, attempt: &Resources) {
        self.change(index, |account| account.usage = account.usage.plus(attempt));
    }

    /// The project has one attempt less. Which classes may go on by that.
    pub(super) fn refund(&mut self, index: AccountIndex, attempt: &Resources) -> BTreeSet<ClassId> {
        self.change(index, |account| account.usage = account.usage.minus(attempt));
        self.let_go_on(index)
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
            if !account.lines.is_empty() {
                self.order.insert((account.standing, AccountIndex(index)));
            }
        }
    }

    fn change(&mut self, index: AccountIndex, change: impl FnOnce(&mut Account)) {
        let Some(account) = self.accounts.get_mut(index.0 as usize) else {
            return;
        };
        let before = account.standing;
        change(account);
        account.standing.0 = level(&account.share, &account.usage, &self.totals);
        if !account.lines.is_empty() && account.standing != before {
            self.order.remove(&(before, index));
            self.order.insert((account.standing, index));
        }
    }

    fn let_go_on(&mut self, index: AccountIndex) -> BTreeSet<ClassId> {
        let account = self.accounts.get_mut(index.0 as usize);
        account
            .map(|account| std::mem::take(&mut account.held_in))
            .unwrap_or_default()
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
