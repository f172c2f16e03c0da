//! What every implementation of [`Store`](crate::Store) has to do, as tests: `conformance_suite!` makes one test of each check.
//!
//! A check takes a store that is new and empty. It panics where the store fails it.

#![allow(clippy::unwrap_used, reason = "checks fail by panicking, as tests do")]
#![allow(missing_docs, reason = "the checks' names say what they check")]

mod caches;
mod commits;
mod example;
mod extension;
mod history;
mod indexes;
mod kept;
mod logs;
mod restoration;
mod secrets;
mod triggers;

pub use caches::{caches_are_replaced_whole, caches_go_with_their_project};
pub use commits::{
    changes_of_one_set_build_on_each_other, every_value_comes_back, large_build, leadership_fences, new_store_is_empty,
    random_changes_come_back, rejected_set_leaves_nothing, sequence_is_read_back,
};
pub use extension::builds_are_extended;
pub use history::{
    builds_are_paged, jobs_are_found, outputs_are_kept_until_released, over_is_history, project_goes_with_all_it_has,
    specs_are_found,
};
pub use indexes::{
    indexes_are_there_when_they_begin, indexes_go_with_their_project, indexes_need_their_array, large_array,
};
pub use kept::outputs_are_kept_as_their_jobs_say;
pub use logs::{
    log_goes_with_its_job, log_is_read_from_any_line, log_is_read_in_pieces, segments_take_the_place_of_others,
};
pub use restoration::{a_later_restoration_is_later, a_restoration_goes_beyond_what_was_given};
pub use secrets::{secrets_are_replaced_and_found_by_name, secrets_go_with_their_project};
pub use triggers::{triggers_are_kept_with_their_files_and_sources, triggers_go_with_their_project};

/// Makes a test of each check: `conformance_suite!(name, new)`, where `new` is an expression that makes a new store (a tuple
/// with the store first, if something else has to live as long).
#[macro_export]
macro_rules! conformance_suite {
    ($name:ident, $new:expr) => {
        $crate::conformance_suite!($name, $new, [
            new_store_is_empty,
            every_value_comes_back,
            changes_of_one_set_build_on_each_other,
            random_changes_come_back,
            rejected_set_leaves_nothing,
            leadership_fences,
            sequence_is_read_back,
            large_build,
            caches_are_replaced_whole,
            caches_go_with_their_project,
            secrets_are_replaced_and_found_by_name,
            secrets_go_with_their_project,
            triggers_are_kept_with_their_files_and_sources,
            triggers_go_with_their_project,
            over_is_history,
            builds_are_paged,
            jobs_are_found,
            specs_are_found,
            builds_are_extended,
            indexes_are_there_when_they_begin,
            indexes_go_with_their_project,
            indexes_need_their_array,
            large_array,
            outputs_are_kept_until_released,
            outputs_are_kept_as_their_jobs_say,
            project_goes_with_all_it_has,
            log_is_read_from_any_line,
            log_is_read_in_pieces,
            segments_take_the_place_of_others,
            log_goes_with_its_job,
            a_restoration_goes_beyond_what_was_given,
            a_later_restoration_is_later,
        ]);
    };
    ($name:ident, $new:expr, [$($check:ident),* $(,)?]) => {
        mod $name {
            use super::*;

            $(#[tokio::test]
            async fn $check() {
                let new = $new;
                $crate::conformance::$check(&new.0).await;
            })*
        }
    };
}
