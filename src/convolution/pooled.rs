//! Where the memory of Burn's tensors meets the pool of the kernels: the one place of this crate with `unsafe`.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use burn::tensor::Bytes;
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty};
use vis_kernels::Workspace;

/// The memory of a tensor, which goes back to the pool with the last tensor that shares it.
struct Pooled(Workspace);

/// All numbers of a buffer.
pub(super) fn bytes(memory: Workspace) -> Bytes {
    let length = memory.bytes().len();
    // SAFETY: the memory is as long as that, and all of it are numbers, which are initialised.
    unsafe { Bytes::from_controller(Box::new(Pooled(memory)), length) }
}

impl AllocationController for Pooled {
    fn alloc_align(&self) -> usize {
        align_of::<f32>() // it is more, but a copy need not be
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self, _: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        // SAFETY: the caller of this method vouches for the same: what it writes is initialised.
        Ok(unsafe { self.0.bytes_mut() })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        Ok(self.0.bytes())
    }
}
