//! Tables over the agent's end.
