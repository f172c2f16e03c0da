//! The edges of a build's graph, from parents to children, in two flat lists.

use super::record::JobNode;

/// Who waits for whom, by index within the build.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Where the children of each job begin in `children`; one entry more than there are jobs.
    starts: Box<[u32]>,
    children: Box<[u32]>,
}

/// What is wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A parent's index is out of range.
    #[error("job `{0}` depends on a job that is not in the build")]
    UnknownParent(String),
    /// A job waits for itself.
    #[error("job `{0}` waits, over its parents, for itself")]
    Cycle(String),
}

impl Edges {
    /// Turns the graph round. Refuses parents that do not exist, and cycles: their jobs would wait for ever.
    pub(super) fn new<'a>(nodes: impl Iterator<Item = &'a JobNode>) -> Result<Self, Error> {
        let nodes: Vec<&JobNode> = nodes.collect();
        let nodes = nodes.as_slice();
        let mut starts = vec![0_u32; nodes.len() + 1];
        for node in nodes {
            for (parent, _) in &node.parents {
                let count = starts
                    .get_mut(*parent as usize + 1)
                    .ok_or_else(|| Error::UnknownParent(node.name.to_string()))?;
                *count += 1;
            }
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut next = starts.clone();
        let mut children = vec![0_u32; starts.last().copied().unwrap_or_default() as usize];
        for (child, node) in (0_u32..).zip(nodes.iter()) {
            for (parent, _) in &node.parents {
                let place = &mut next[*parent as usize];
                children[*place as usize] = child;
                *place += 1;
            }
        }
        let edges = Self {
            starts: starts.into(),
            children: children.into(),
        };
        edges.check_acyclic(nodes)?;
        Ok(edges)
    }

    /// The children of a job, by index, as often as they name it.
    pub(super) fn children(&self, parent: u32) -> &[u32] {
        let bounds = self
            .starts
            .get(parent as usize)
            .zip(self.starts.get(parent as usize + 1));
        bounds.map_or(&[], |(start, end)| &self.children[*start as usize..*end as usize])
    }

    fn check_acyclic(&self, nodes: &[&JobNode]) -> Result<(), Error> {
        let mut pending: Vec<usize> = nodes.iter().map(|node| node.parents.len()).collect();
        let mut ready: Vec<u32> = (0_u32..)
            .zip(&pending)
            .filter(|(_, count)| **count == 0)
            .map(|(index, _)| index)
            .collect();
        while let Some(parent) = ready.pop() {
            for child in self.children(parent) {
                let count = &mut pending[*child as usize];
                *count -= 1;
                if *count == 0 {
                    ready.push(*child);
                }
            }
        }
        match pending.iter().position(|count| *count > 0) {
            Some(index) => Err(Error::Cycle(nodes[index].name.to_string())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::StateSet;
    use crate::control::testing::node;

    #[test]
    fn graphs_turned_round() {
        let nodes = [node("a", &[]), node("b", &[0]), node("c", &[0, 1]), node("d", &[2, 2])];
        let edges = Edges::new(nodes.iter()).unwrap();
        let children: Vec<&[u32]> = (0..4).map(|index| edges.children(index)).collect();
        assert_eq!(children, [&[1, 2][..], &[2], &[3, 3], &[]]);
        assert_eq!(edges.children(99), &[] as &[u32]);
        assert!(nodes[3].parents.iter().all(|(_, on)| *on == StateSet::ALL));
    }

    #[test]
    fn graphs_refused() {
        for (nodes, error) in [
            (vec![node("a", &[1])], Error::UnknownParent("a".to_owned())),
            (vec![node("a", &[0])], Error::Cycle("a".to_owned())),
            (
                vec![node("a", &[]), node("b", &[2]), node("c", &[1])],
                Error::Cycle("b".to_owned()),
            ),
        ] {
            assert_eq!(Edges::new(nodes.iter()).err(), Some(error));
        }
    }
}
