//! The sizes of a convolution, all of them checked here, once, before a kernel sees them.
//!
//! A [`Geometry`] can't be made of sizes that do not fit each other, or whose numbers do not fit into memory that can be
//! addressed. Every index into an image, an output or the weights is below one of its lengths, so it can't wrap around
//! either; scratch memory is checked the same way where it is taken (`workspace::length`).

use std::fmt;

/// The zeros around the input of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// As many pixels on every side.
    Pixels(usize),
    /// What makes the output as large as the input divided by the stride, rounded up; where that is an odd
    /// number of pixels, the odd one goes below and to the right. TensorFlow's `SAME`.
    Same,
}

impl Padding {
    /// The zeros before and after an axis of `size` pixels; none if their number is beyond all bounds.
    fn around(self, size: usize, kernel: usize, stride: usize) -> Option<[usize; 2]> {
        match self {
            Self::Pixels(pixels) => Some([pixels; 2]),
            Self::Same => {
                let positions = size.div_ceil(stride).max(1);
                let reach = (positions - 1).checked_mul(stride)?.checked_add(kernel)?;
                let total = reach.saturating_sub(size);
                Some([total / 2, total - total / 2])
            }
        }
    }
}

/// The filters of a convolution: everything but the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Filters {
    groups: usize,
    /// Output channels of a group.
    outputs: usize,
    /// Input channels of a group.
    inputs: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
}

impl Filters {
    /// Filters of the shape `weight`, `[outputs, inputs / groups, height, width]`, for images of `channels` channels.
    ///
    /// The number of groups follows: it is `channels` over the weight's second extent.
    ///
    /// # Errors
    /// [`Mismatch`] if an extent or the stride is 0, if the channels do not make whole groups, or if the weights do not
    /// fit into memory that can be addressed.
    pub fn new(
        weight: [usize; 4],
        channels: usize,
        stride: usize,
        padding: Padding,
    ) -> Result<Self, Mismatch> {
        let [outputs, inputs, height, width] = weight;
        let mismatch = |reason| Mismatch { weight, image: [1, channels, 0, 0], stride, padding, reason };
        if weight.contains(&0) {
            return Err(mismatch(Reason::NoWeights));
        }
        if stride == 0 {
            return Err(mismatch(Reason::NoStride));
        }
        if length(&weight).is_none() {
            return Err(mismatch(Reason::TooLarge));
        }
        let groups = channels / inputs;
        if groups == 0 || !channels.is_multiple_of(inputs) || !outputs.is_multiple_of(groups) {
            return Err(mismatch(Reason::Channels));
        }
        Ok(Self { groups, outputs: outputs / groups, inputs, kernel: [height, width], stride, padding })
    }

    /// The shape of the weights, `[outputs, inputs / groups, height, width]`.
    pub fn weight(&self) -> [usize; 4] {
        [self.outputs(), self.inputs, self.kernel[0], self.kernel[1]]
    }

    /// The number of groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Channels of the input, over all groups.
    pub fn inputs(&self) -> usize {
        self.groups * self.inputs
    }

    /// Channels of the output, over all groups.
    pub fn outputs(&self) -> usize {
        self.groups * self.outputs
    }

    /// Channels of the input and of the output in a group.
    pub fn channels_of_a_group(&self) -> [usize; 2] {
        [self.inputs, self.outputs]
    }

    /// Height and width of a filter.
    pub fn kernel(&self) -> [usize; 2] {
        self.kernel
    }

    /// How far apart two neighbouring positions of a filter are.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The zeros around the images.
    pub fn padding(&self) -> Padding {
        self.padding
    }

    /// The zeros above and below, and to the left and right, if they are as many on both sides for images of every size.
    pub fn symmetric_padding(&self) -> Option<[usize; 2]> {
        let [height, width] = self.kernel;
        match self.padding {
            Padding::Pixels(pixels) => Some([pixels; 2]),
            // For stride 1 the padding does not depend on the size of the image.
            Padding::Same => {
                (self.stride == 1 && height % 2 == 1 && width % 2 == 1).then_some([height / 2, width / 2])
            }
        }
    }

    /// The sizes for a batch of images of this height and width.
    ///
    /// # Errors
    /// [`Mismatch`] if an image has no pixels, or with its padding is smaller than a filter, or if the images, the padded images or the outputs do
    /// not fit into memory that can be addressed.
    ///
    /// ```
    /// use vis_kernels::{Filters, Padding};
    ///
    /// let depthwise = Filters::new([16, 1, 3, 3], 16, 2, Padding::Same)?;
    /// let sizes = depthwise.on(8, [112, 75])?;
    /// assert_eq!(sizes.output(), [8, 16, 56, 38]);
    /// assert!(depthwise.on(usize::MAX, [112, 75]).is_err());
    /// # Ok::<(), vis_kernels::Mismatch>(())
    /// ```
    pub fn on(&self, batch: usize, size: [usize; 2]) -> Result<Geometry, Mismatch> {
        let image = [batch, self.inputs(), size[0], size[1]];
        let mismatch = |reason| Mismatch {
            weight: self.weight(),
            image,
            stride: self.stride,
            padding: self.padding,
            reason,
        };
        if size.contains(&0) {
            return Err(mismatch(Reason::TooSmall));
        }
        let (mut before, mut padded, mut output) = ([0; 2], [0; 2], [0; 2]);
        for axis in 0..2 {
            let around = self.padding.around(size[axis], self.kernel[axis], self.stride);
            let [first, last] = around.ok_or_else(|| mismatch(Reason::TooLarge))?;
            let all = first.checked_add(last).and_then(|around| around.checked_add(size[axis]));
            padded[axis] = all.ok_or_else(|| mismatch(Reason::TooLarge))?;
            let room = padded[axis].checked_sub(self.kernel[axis]);
            output[axis] = room.ok_or_else(|| mismatch(Reason::TooSmall))? / self.stride + 1;
            before[axis] = first;
        }
        // The last two are never made: they bound what a kernel counts with on its way.
        let channels = self.inputs().max(self.outputs());
        let rounded = padded.map(|size| size.saturating_add(2 * MARGIN));
        let all = [
            [batch, self.inputs(), size[0], size[1]],
            [batch, self.outputs(), output[0], output[1]],
            [1, channels, rounded[0], rounded[1]],
            [batch, channels, size[0].max(output[0]).max(1), size[1].max(output[1]).max(1)],
        ];
        if all.iter().any(|extents| length(extents).is_none()) {
            return Err(mismatch(Reason::TooLarge));
        }
        Ok(Geometry { filters: *self, batch, size, output, before })
    }
}

/// More than kernels round a row or a column up by.
const MARGIN: usize = 64;

/// How many numbers there are, if they fit into memory that can be addressed.
fn length(extents: &[usize]) -> Option<usize> {
    let count = extents.iter().try_fold(1usize, |count, extent| count.checked_mul(*extent));
    // An extent of 0 must not hide what the others would overflow.
    let least = extents.iter().try_fold(1usize, |count, extent| count.checked_mul((*extent).max(1)));
    let most = isize::MAX as usize / size_of::<f32>();
    count.filter(|_| least.is_some_and(|least| least <= most))
}

/// The sizes of one convolution of a batch of images: checked, so that kernels can count with them.
///
/// [`Filters::on`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    filters: Filters,
    batch: usize,
    size: [usize; 2],
    output: [usize; 2],
    before: [usize; 2],
}

impl Geometry {
    /// The filters.
    pub fn filters(&self) -> &Filters {
        &self.filters
    }

    /// Images in the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The shape of the input, `[batch, channels, height, width]`.
    pub fn input(&self) -> [usize; 4] {
        [self.batch, self.filters.inputs(), self.size[0], self.size[1]]
    }

    /// The shape of the output, `[batch, channels, height, width]`.
    pub fn output(&self) -> [usize; 4] {
        [self.batch, self.filters.outputs(), self.output[0], self.output[1]]
    }

    /// Numbers in the input.
    pub fn input_length(&self) -> usize {
        self.input().iter().product()
    }

    /// Numbers in the output.
    pub fn output_length(&self) -> usize {
        self.output().iter().product()
    }

    /// The zeros above and to the left of an image.
    pub fn zeros_before(&self) -> [usize; 2] {
        self.before
    }

    /// The zeros above and below, and to the left and right.
    pub fn zeros_around(&self) -> [[usize; 2]; 2] {
        let Filters { kernel, stride, padding, .. } = self.filters;
        [0, 1].map(|axis| padding.around(self.size[axis], kernel[axis], stride).unwrap_or([0; 2]))
    }

    /// Checks the lengths of what a call reads and writes.
    pub(crate) fn check(&self, filters: &Filters, input: usize, output: usize) {
        assert_eq!(self.filters, *filters, "sizes that were made for other filters");
        assert_eq!(input, self.input_length(), "numbers of an input of the shape {:?}", self.input());
        assert_eq!(output, self.output_length(), "numbers of an output of the shape {:?}", self.output());
    }
}

/// Why there is no convolution of these images with these filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    weight: [usize; 4],
    image: [usize; 4],
    stride: usize,
    padding: Padding,
    reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    NoWeights,
    NoStride,
    Channels,
    TooSmall,
    TooLarge,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weight, image, stride, padding, reason } = self;
        let [outputs, inputs, kernel_height, kernel_width] = weight;
        let [_, channels, height, width] = image;
        write!(f, "a convolution with weights {weight:?}, stride {stride} and padding {padding:?} ")?;
        match reason {
            Reason::NoWeights => f.write_str("has an extent of 0, so there is nothing to multiply by"),
            Reason::NoStride => f.write_str("would never move: the stride is at least 1"),
            Reason::Channels => write!(
                f,
                "can't take images of {channels} channels: they must be a multiple of {inputs}, and the {outputs} \
                 outputs a multiple of the number of groups, channels / {inputs}"
            ),
            Reason::TooSmall => write!(
                f,
                "can't take images {image:?}: {height}×{width} pixels are none, or with the padding fewer than the \
                 filter has, {kernel_height}×{kernel_width}"
            ),
            Reason::TooLarge => write!(
                f,
                "of images {image:?} is too large: the images, the padded images or the outputs are more numbers than \
                 can be addressed"
            ),
        }
    }
}

impl std::error::Error for Mismatch {}
