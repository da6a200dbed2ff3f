//! The tests that every backend passes: each op against the reference, on random numbers in awkward sizes and on special
//! numbers.
//!
//! A backend describes itself as a [`Subject`], and [`test_backend`] makes a test of each property:
//!
//! ```
//! # use std::sync::Arc;
//! use kernels_backend::{Backend, DType, WeightFormat};
//! use kernels_testing::{Operand, Subject};
//!
//! struct Reference;
//!
//! impl Subject for Reference {
//!     fn each(&self, check: &mut dyn FnMut(&Arc<dyn Backend>, &str)) {
//!         check(&(kernels_reference::ReferenceBackend::open() as Arc<dyn Backend>), "");
//!     }
//!     fn formats(&self) -> &[WeightFormat] {
//!         &[WeightFormat::F32, WeightFormat::Bf16]
//!     }
//!     fn takes(&self, _: Operand, _: DType) -> bool {
//!         true
//!     }
//!     fn sizes(&self) -> &[usize] {
//!         &[0, 1, 2, 7, 16]
//!     }
//! }
//!
//! kernels_testing::linear::nan_and_infinity_stay_in_their_rows(&Reference);
//! ```
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test panics where something is wrong, and for no other reason"
)]

mod subject;
mod tensors;

pub mod attention;
pub mod linear;
pub mod loss;
pub mod patches;
pub mod refusals;
pub mod rows;

pub use subject::{Operand, Run, Subject, agree, agree_in, cases};
pub use tensors::{integers, laid_out, noise, packed, tensor, typed, unset, unset_in, values};

/// One test for each property of each op, in modules named as the ops. Those of the second list are too large for Miri.
#[macro_export]
macro_rules! test_backend {
    ($subject:path) => {
        $crate::test_backend! { @modules $subject;
            attention {
                any_head_and_any_number_of_tokens_agree_with_the_reference,
                what_may_be_rounded_to_bf16_agrees_with_the_reference_within_that,
                queries_and_keys_in_int8_agree_with_the_reference,
                dropout_is_refused_unless_it_does_nothing,
            } {
                large_scores_do_not_overflow,
                nan_infinite_and_overflowing_scores_give_what_the_reference_gives,
            }
            linear {
                any_epilogue_size_and_type_agree_with_the_reference,
                ranges_of_rows_are_read_and_written_in_place,
                queries_keys_and_values_are_laid_out_by_head,
                stacked_blocks_of_any_type_and_a_repacked_layer_agree,
                nan_and_infinity_stay_in_their_rows,
                weights_that_are_not_finite_spoil_their_feature_only,
            } {
                padded_rows_and_long_sums_agree,
            }
            loss {
                elementwise_losses_and_their_gradients_agree,
                cross_entropy_and_its_gradient_agree,
                special_logits_agree,
            } {}
            patches {
                levels_are_looked_up_by_channel,
                patches_and_targets_agree_for_any_geometry,
            } {}
            refusals {
                weights_and_tensors_of_other_backends_are_refused,
                wrong_shapes_types_layouts_and_indices_are_named,
                memory_that_no_integer_counts_is_refused,
            } {}
            rows {
                layer_norm_agrees_for_any_width_offset_and_type,
                rows_are_gathered_broadcast_and_copied_into_place,
                means_over_tokens_agree,
                nan_spoils_its_row_only,
                conversions_round_to_nearest_even_and_keep_special_values,
            } {
                wide_rows_agree,
                a_resized_tensor_reads_what_is_written_to_it,
            }
        }
    };
    (@modules $subject:path; $($op:ident { $($any:ident,)* } { $($large:ident,)* })*) => {
        $(mod $op {
            use super::*;
            $(#[test] fn $any() { $crate::$op::$any(&$subject) })*
            $(#[test] #[cfg_attr(miri, ignore = "too large")] fn $large() { $crate::$op::$large(&$subject) })*
        })*
    };
}
