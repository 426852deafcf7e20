//! The table of all cases, with what each needs of an executor.
//!
//! - `needs_nothing`: an executor.
//! - `needs_concurrency`: `submit` returns before the task ends, so that a task may wait for the test.
//! - `needs_two_workers`: and two tasks can run at the same time.
//! - `needs_drop`: dropping the value that the case is given shuts the executor down; not so for a reference.
//! - `needs_concurrency_and_drop`: both.
//! - `needs_memory`: its tasks have the memory of the test.

/// Calls `$run!` with its arguments and the list of all cases.
macro_rules! for_every_case {
    ($run:ident $arguments:tt) => {
        $run! { $arguments
            contract {
                a_task_runs_once_or_is_cancelled: needs_nothing,
                what_was_done_before_is_seen_after: needs_memory,
                f017_a_queued_task_can_be_cancelled: needs_concurrency,
                f018_a_running_task_cannot_be_cancelled: needs_concurrency,
                f022_running_means_running: needs_concurrency,
                f042_a_panic_is_the_futures_error: needs_nothing,
                f044_callbacks_run_once: needs_nothing,
                f052_futures_of_several_executors_are_waited_for_together: needs_nothing,
                f061_as_completed_yields_in_order_of_completion: needs_two_workers,
                p05_a_tasks_own_timeout_is_no_timeout_of_the_wait: needs_nothing,
                p48_the_argument_is_gone_before_the_result_is_there: needs_nothing,
            }
            submit {
                f071_three_methods_carry_everything: needs_nothing,
                f072_submit_returns_a_future_at_once: needs_concurrency,
                f072_several_arguments_are_a_tuple: needs_nothing,
                f073_submit_never_blocks: needs_concurrency,
                f075_a_refused_task_comes_back: needs_nothing,
                f075_shutdown_refuses_while_tasks_still_run: needs_concurrency,
                f076_first_in_first_out: needs_nothing,
                f076_each_thread_that_submits_keeps_its_order: needs_nothing,
            }
            map {
                f077_results_come_in_the_order_of_the_items: needs_nothing,
                f077_no_items_no_results: needs_nothing,
                f077_inputs_are_zipped_by_zip: needs_nothing,
                f078_the_default_window_is_bounded: needs_nothing,
                f078_unbounded_reads_everything_at_the_call: needs_nothing,
                f078_everything_submitted_runs_unasked: needs_concurrency,
                f079_an_input_that_panics_at_the_call: needs_nothing,
                f079_an_input_that_panics_later_loses_nothing: needs_nothing,
                f080_a_failing_call_fails_its_item_alone: needs_nothing,
                f081_the_deadline_cancels_what_has_not_started: needs_concurrency,
                f081_what_exists_is_yielded_after_the_deadline: needs_concurrency,
                f081_an_endless_map_ends_at_its_deadline: needs_nothing,
                f082_dropping_the_iterator_cancels: needs_concurrency,
                f082_dropping_it_before_the_first_item_cancels: needs_concurrency,
                f082_detach_leaves_it_running: needs_concurrency,
                f083_yielded_results_are_not_retained: needs_nothing,
                f089_shutdown_ends_a_map_without_losing_items: needs_nothing,
                f097_map_after_shutdown_refuses_items_alone: needs_nothing,
            }
            map_options {
                f084_chunks_carry_every_item: needs_nothing,
                f085_an_item_of_a_chunk_fails_alone: needs_nothing,
                f086_zero_is_refused_before_the_input_is_read: needs_nothing,
                f087_buffersize_is_never_exceeded: needs_nothing,
                f088_buffersize_counts_items_also_in_chunks: needs_nothing,
                p13_progress_counts_items: needs_nothing,
                p13_progress_is_readable_meanwhile: needs_concurrency,
                unordered_yields_everything: needs_nothing,
                unordered_yields_what_is_ready: needs_two_workers,
            }
            shutdown {
                f091_shutdown_runs_everything_and_waits: needs_nothing,
                f091_without_waiting_the_work_goes_on: needs_concurrency,
                f092_cancelling_spares_what_runs: needs_concurrency,
                f092_cancelling_wakes_everyone_who_waits: needs_concurrency,
                f093_shutdown_can_be_repeated: needs_nothing,
                f093_a_later_shutdown_cancels_the_rest: needs_concurrency,
                f093_many_threads_shut_down_at_once: needs_nothing,
                f095_a_timeout_says_what_is_left: needs_concurrency,
                f096_drop_runs_everything_and_waits: needs_drop,
                f096_drop_while_panicking_cancels: needs_concurrency_and_drop,
                f150_drop_after_shutdown_does_nothing: needs_drop,
            }
        }
    };
}
