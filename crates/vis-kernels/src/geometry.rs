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
    /// So many above and below, and to the left and right: `[[above, below], [left, right]]`.
    Around([[usize; 2]; 2]),
    /// What makes the output as large as the input divided by the stride, rounded up; where that is an odd
    /// number of pixels, the odd one goes below and to the right. TensorFlow's `SAME`.
    Same,
}

impl Padding {
    /// The zeros before and after an axis of `size` pixels, which a filter covers `reach` of at a time; none if their
    /// number is beyond all bounds.
    fn around(self, axis: usize, size: usize, reach: usize, stride: usize) -> Option<[usize; 2]> {
        match self {
            Self::Pixels(pixels) => Some([pixels; 2]),
            Self::Around(zeros) => Some(zeros[axis]),
            Self::Same => {
                let positions = size.div_ceil(stride).max(1);
                let reach = (positions - 1).checked_mul(stride)?.checked_add(reach)?;
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
    stride: [usize; 2],
    dilation: [usize; 2],
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
        let (stride, dilation) = ([stride; 2], [1; 2]);
        let mismatch = |reason| Mismatch {
            shapes: Box::new([weight, [1, channels, 0, 0]]),
            stride,
            dilation,
            padding,
            reason,
        };
        if weight.contains(&0) {
            return Err(mismatch(Reason::NoWeights));
        }
        if stride.contains(&0) {
            return Err(mismatch(Reason::NoStride));
        }
        if length(&weight).is_none() {
            return Err(mismatch(Reason::TooLarge));
        }
        let groups = channels / inputs;
        if groups == 0 || !channels.is_multiple_of(inputs) || !outputs.is_multiple_of(groups) {
            return Err(mismatch(Reason::Channels));
        }
        let kernel = [height, width];
        Ok(Self { groups, outputs: outputs / groups, inputs, kernel, stride, dilation, padding })
    }

    /// The same filters at other distances: `stride` between two positions of a filter, `dilation` between two of its
    /// weights, down and to the right.
    ///
    /// # Errors
    /// [`Mismatch`] if one of them is 0, or a filter reaches further than can be addressed.
    pub fn spaced(self, stride: [usize; 2], dilation: [usize; 2]) -> Result<Self, Mismatch> {
        let spaced = Self { stride, dilation, ..self };
        let mismatch = |reason| spaced.mismatch([1, self.inputs(), 0, 0], reason);
        if stride.contains(&0) || dilation.contains(&0) {
            return Err(mismatch(Reason::NoStride));
        }
        let reach = |axis: usize| (self.kernel[axis] - 1).checked_mul(dilation[axis])?.checked_add(1);
        match (reach(0), reach(1)) {
            (Some(height), Some(width)) if length(&[height, width]).is_some() => Ok(spaced),
            _ => Err(mismatch(Reason::TooLarge)),
        }
    }

    fn mismatch(&self, image: [usize; 4], reason: Reason) -> Mismatch {
        let Self { stride, dilation, padding, .. } = *self;
        Mismatch { shapes: Box::new([self.weight(), image]), stride, dilation, padding, reason }
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

    /// How far apart two neighbouring positions of a filter are, down and to the right.
    pub fn stride(&self) -> [usize; 2] {
        self.stride
    }

    /// How far apart two neighbouring weights of a filter are, down and to the right; 1 for ordinary filters.
    pub fn dilation(&self) -> [usize; 2] {
        self.dilation
    }

    /// How many pixels a filter spans, down and to the right.
    pub(crate) fn reach(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.kernel[axis] - 1) * self.dilation[axis] + 1)
    }

    /// The zeros around the images.
    pub fn padding(&self) -> Padding {
        self.padding
    }

    /// The zeros above and below, and to the left and right, if they are as many on both sides for images of every size.
    pub fn symmetric_padding(&self) -> Option<[usize; 2]> {
        let [height, width] = self.reach();
        match self.padding {
            Padding::Pixels(pixels) => Some([pixels; 2]),
            Padding::Around(zeros) => {
                zeros.iter().all(|[before, after]| before == after).then_some(zeros.map(|[before, _]| before))
            }
            // For stride 1 the padding does not depend on the size of the image.
            Padding::Same => {
                let odd = height % 2 == 1 && width % 2 == 1;
                (self.stride == [1, 1] && odd).then_some([height / 2, width / 2])
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
        let mismatch = |reason| self.mismatch(image, reason);
        let reach = self.reach();
        if size.contains(&0) {
            return Err(mismatch(Reason::TooSmall));
        }
        let (mut before, mut padded, mut output) = ([0; 2], [0; 2], [0; 2]);
        for axis in 0..2 {
            let around = self.padding.around(axis, size[axis], reach[axis], self.stride[axis]);
            let [first, last] = around.ok_or_else(|| mismatch(Reason::TooLarge))?;
            let all = first.checked_add(last).and_then(|around| around.checked_add(size[axis]));
            padded[axis] = all.ok_or_else(|| mismatch(Reason::TooLarge))?;
            let room = padded[axis].checked_sub(reach[axis]);
            output[axis] = room.ok_or_else(|| mismatch(Reason::TooSmall))? / self.stride[axis] + 1;
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
        let Filters { stride, padding, .. } = self.filters;
        let reach = self.filters.reach();
        [0, 1].map(|axis| padding.around(axis, self.size[axis], reach[axis], stride[axis]).unwrap_or([0; 2]))
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
    /// Of the weights and of the images.
    shapes: Box<[[usize; 4]; 2]>,
    stride: [usize; 2],
    dilation: [usize; 2],
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
        let Self { shapes, stride, dilation, padding, reason } = self;
        let [weight, image] = &**shapes;
        let [outputs, inputs, kernel_height, kernel_width] = weight;
        let [_, channels, height, width] = image;
        write!(f, "a convolution with weights {weight:?}, ")?;
        match stride {
            [down, right] if down == right => write!(f, "stride {down} ")?,
            _ => write!(f, "strides {stride:?} ")?,
        }
        if *dilation != [1, 1] {
            write!(f, "dilations {dilation:?} ")?;
        }
        write!(f, "and padding {padding:?} ")?;
        match reason {
            Reason::NoWeights => f.write_str("has an extent of 0, so there is nothing to multiply by"),
            Reason::NoStride => f.write_str("would never move: strides and dilations are at least 1"),
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
