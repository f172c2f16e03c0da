//! Finds cycles in linear time: Tarjan's strongly connected components, without recursion, since a chain of jobs may
//! be longer than the stack is deep.

use std::collections::HashMap;

use crate::build::StateSet;

const UNSEEN: u32 = u32::MAX;
const NO_COMPONENT: u32 = u32::MAX;

/// One cycle of every group of jobs that wait for each other, along the edges to the parents, from its lowest index.
/// The groups come in the order of their lowest index. `parents` must not hold an edge from a job to itself.
pub(super) fn find(parents: &[Vec<(u32, StateSet)>]) -> Vec<Vec<u32>> {
    let components = Search::new(parents).run();
    let mut sizes = vec![0_u32; parents.len()];
    for component in &components {
        sizes[*component as usize] += 1;
    }
    let mut reported = vec![false; parents.len()];
    let mut cycles = Vec::new();
    for (start, component) in (0_u32..).zip(&components) {
        let component = *component as usize;
        if sizes[component] > 1 && !reported[component] {
            reported[component] = true;
            cycles.push(walk(start, parents, &components));
        }
    }
    cycles
}

/// Follows the first parent that is in the same component until a job comes again.
fn walk(start: u32, parents: &[Vec<(u32, StateSet)>], components: &[u32]) -> Vec<u32> {
    let component = components[start as usize];
    let mut steps = HashMap::new();
    let mut path = Vec::new();
    let mut job = start;
    loop {
        if let Some(step) = steps.insert(job, path.len()) {
            let mut cycle = path.split_off(step);
            let lowest = (0..cycle.len()).min_by_key(|index| cycle[*index]).unwrap_or(0);
            cycle.rotate_left(lowest);
            return cycle;
        }
        path.push(job);
        job = parents[job as usize]
            .iter()
            .map(|(parent, _)| *parent)
            .find(|parent| components[*parent as usize] == component)
            .expect("a job in a component of several has a parent in it");
    }
}

struct Search<'a> {
    parents: &'a [Vec<(u32, StateSet)>],
    /// When a job was first seen, from 0.
    seen: Vec<u32>,
    /// The earliest job on the stack that a job reaches.
    low: Vec<u32>,
    /// The component that a finished job belongs to.
    components: Vec<u32>,
    stack: Vec<u32>,
    /// The jobs that are being visited, with the next edge to follow.
    visiting: Vec<(u32, usize)>,
    next_seen: u32,
    next_component: u32,
}

impl<'a> Search<'a> {
    fn new(parents: &'a [Vec<(u32, StateSet)>]) -> Self {
        let count = parents.len();
        Self {
            parents,
            seen: vec![UNSEEN; count],
            low: vec![0; count],
            components: vec![NO_COMPONENT; count],
            stack: Vec::new(),
            visiting: Vec::new(),
            next_seen: 0,
            next_component: 0,
        }
    }

    fn run(mut self) -> Vec<u32> {
        for (root, _) in (0_u32..).zip(self.parents) {
            if self.seen[root as usize] == UNSEEN {
                self.enter(root);
                self.visit();
            }
        }
        self.components
    }

    fn visit(&mut self) {
        while let Some((job, edge)) = self.visiting.last_mut() {
            let job = *job;
            let Some((parent, _)) = self.parents[job as usize].get(*edge) else {
                self.visiting.pop();
                self.leave(job);
                continue;
            };
            *edge += 1;
            let parent_seen = self.seen[*parent as usize];
            if parent_seen == UNSEEN {
                self.enter(*parent);
            } else if self.components[*parent as usize] == NO_COMPONENT {
                self.low[job as usize] = self.low[job as usize].min(parent_seen);
            }
        }
    }

    fn enter(&mut self, job: u32) {
        self.seen[job as usize] = self.next_seen;
        self.low[job as usize] = self.next_seen;
        self.next_seen += 1;
        self.stack.push(job);
        self.visiting.push((job, 0));
    }

    fn leave(&mut self, job: u32) {
        let low = self.low[job as usize];
        if let Some((child, _)) = self.visiting.last() {
            let child = *child as usize;
            self.low[child] = self.low[child].min(low);
        }
        if low == self.seen[job as usize] {
            while let Some(member) = self.stack.pop() {
                self.components[member as usize] = self.next_component;
                if member == job {
                    break;
                }
            }
            self.next_component += 1;
        }
    }
}
