//! Vision transformers.

use std::path::Path;

use burn::tensor::activation::softmax as softmax_along;
use burn::tensor::{Device, Tensor};

use super::layers::{Dense, gelu, softmax};
use super::torch::{self, LayerNorm};
use super::weights::{Parameters, Weights};
use super::{InputSpec, Model, Preprocessing, Preset, Stop, Taps, imagenet};
use crate::{Error, Result};

/// A vision transformer: ViT-S/16, and any other of its kind that a file holds.
///
/// The image is cut into square patches. Each becomes a token, a class token is put before them, and blocks of
/// self-attention and of a small dense network mix and change them. Tokens are shown as the grid of their patches, so a
/// layer of them is a map like that of a convolution, `[batch, channels, height / patch, width / patch]`; the class token is
/// a layer apart, whose name ends in `.class`.
///
/// The layers are named as in timm: `patch_embed`; for each block `blocks.0.norm1`, `blocks.0.attn.qkv`,
/// `blocks.0.attn.softmax` (the attention maps, `[batch, heads, tokens, tokens]`, a row for each query), `blocks.0.attn.proj`,
/// `blocks.0.norm2`, `blocks.0.mlp.fc1`, `blocks.0.mlp.act`, `blocks.0.mlp.fc2`, and `blocks.0`, what leaves the block; `norm`,
/// `head` (the class scores) and `softmax`. All of `patch_embed` to `norm` but attention maps have a `.class` beside them from
/// the first block on. The class scores depend on the class token alone: the maps of the last block after its attention
/// have no gradient.
///
/// Images are RGB in `0..255` of one size, the one that the positional embeddings are made for. A file does not say how its
/// pixels were scaled. For timm's names it is taken to be `x / 127.5 − 1`, as most of its weights were trained; give
/// DeiT's [`Preprocessing::imagenet`] by [`with_preprocessing`](Self::with_preprocessing). For torchvision's names it is
/// ImageNet's mean and deviation.
///
/// A file has timm's names (`blocks.0.attn.qkv.weight`, …; DeiT and DINO have them too) or torchvision's
/// (`encoder.layers.encoder_layer_0.self_attention.in_proj_weight`, …). Patch, width, depth, image and classes are the
/// file's own; a head has 64 channels, unless [`with_heads`](Self::with_heads) says otherwise. `head` may be missing.
///
/// Source: Dosovitskiy et al. 2020, *An Image is Worth 16x16 Words*, equations 1 to 4.
#[derive(Debug, Clone)]
#[doc(alias = "ViT")]
#[doc(alias = "vit_small_patch16_224")]
#[doc(alias = "DeiT")]
pub struct VisionTransformer {
    input: InputSpec,
    preprocessing: Preprocessing,
    /// The side of a patch.
    patch: usize,
    embedding: Dense,
    class_token: Tensor<3>,
    positions: Tensor<3>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Option<Dense>,
    device: Device,
}

/// Self-attention and a dense network of two layers, each after a norm and added to what came in.
#[derive(Debug, Clone)]
struct Block {
    norm1: LayerNorm,
    qkv: Dense,
    proj: Dense,
    norm2: LayerNorm,
    fc1: Dense,
    fc2: Dense,
    heads: usize,
}

/// ViT-S/16: the side of a patch and of the image, channels, blocks, and how many times wider the dense network is.
const PATCH: usize = 16;
const SIDE: usize = 224;
const WIDTH: usize = 384;
const DEPTH: usize = 12;
const HIDDEN: usize = 4;
/// Channels of a head.
const OF_A_HEAD: usize = 64;
const EPSILON: f32 = 1e-6;

/// How a file names its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Timm,
    Torchvision,
}

impl Form {
    fn of(parameters: &Parameters) -> Self {
        let is_torchvision = parameters.names().any(|name| name.starts_with("encoder.layers."));
        if is_torchvision { Self::Torchvision } else { Self::Timm }
    }

    /// The file's name of what timm calls `name`, outside of blocks.
    fn outer(self, name: &'static str) -> &'static str {
        match (self, name) {
            (Self::Timm, _) => name,
            (_, "cls_token") => "class_token",
            (_, "pos_embed") => "encoder.pos_embedding",
            (_, "patch_embed.proj") => "conv_proj",
            (_, "norm") => "encoder.ln",
            (_, "head") => "heads.head",
            _ => name,
        }
    }

    fn block(self, index: usize) -> String {
        match self {
            Self::Timm => format!("blocks.{index}"),
            Self::Torchvision => format!("encoder.layers.encoder_layer_{index}"),
        }
    }

    fn has_block(self, parameters: &Parameters, index: usize) -> bool {
        let block = format!("{}.", self.block(index));
        parameters.names().any(|name| name.starts_with(&block))
    }

    /// The file's names of the layers of a block: two norms, the output of the attention, the dense network.
    fn parts(self, parameters: &Parameters, block: &str) -> [String; 5] {
        let has = |name: &str| parameters.shape(&format!("{block}.{name}.weight")).is_some();
        let names = match self {
            Self::Timm => ["norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"],
            // Files of before 2022.
            Self::Torchvision if has("mlp.linear_1") => {
                ["ln_1", "self_attention.out_proj", "ln_2", "mlp.linear_1", "mlp.linear_2"]
            }
            Self::Torchvision => ["ln_1", "self_attention.out_proj", "ln_2", "mlp.0", "mlp.3"],
        };
        names.map(|name| format!("{block}.{name}"))
    }

    /// The file's names of the weight and the bias of queries, keys and values.
    fn qkv(self, block: &str) -> [String; 2] {
        match self {
            Self::Timm => ["weight", "bias"].map(|what| format!("{block}.attn.qkv.{what}")),
            Self::Torchvision => {
                ["weight", "bias"].map(|what| format!("{block}.self_attention.in_proj_{what}"))
            }
        }
    }
}

impl VisionTransformer {
    /// The network with the weights of a file of timm or torchvision.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Format`] for a file that can't be read, and [`Error::Weights`] for one of another
    /// network.
    ///
    /// ```no_run
    /// use vis::{Model, model::VisionTransformer};
    /// let model = VisionTransformer::from_file("vit_small_patch16_224.safetensors", &Default::default())?;
    /// let image = model.input().zeros(&model.device());
    /// assert_eq!(model.activation(image, "blocks.5.mlp.fc1")?.dims(), [1, 1536, 14, 14]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Weights::from_file(path, device)?.load(Self::assemble)
    }

    /// ViT-S/16 with [random weights](Weights::random), for tests and for comparisons with a network
    /// that has learned nothing.
    ///
    /// ```
    /// use vis::{Model, model::VisionTransformer};
    /// let model = VisionTransformer::with_random_weights(0, &Default::default())?;
    /// let image = model.input().zeros(&model.device());
    /// assert_eq!(model.activation(image.clone(), "blocks.0.norm1")?.dims(), [1, 384, 14, 14]);
    /// assert_eq!(model.activation(image.clone(), "blocks.0.norm1.class")?.dims(), [1, 384, 1, 1]);
    /// assert_eq!(model.activation(image, "blocks.0.attn.softmax")?.dims(), [1, 6, 197, 197]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None. It returns a `Result` as the other constructors do.
    pub fn with_random_weights(seed: u64, device: &Device) -> Result<Self> {
        Weights::random(seed, device).load(Self::assemble)
    }

    /// Sets what is done to the pixels: a file does not say it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for numbers that don't fit three channels.
    ///
    /// ```
    /// use vis::model::{Preprocessing, VisionTransformer};
    /// # let device = Default::default();
    /// let deit = VisionTransformer::with_random_weights(0, &device)?.with_preprocessing(Preprocessing::imagenet())?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_preprocessing(mut self, preprocessing: Preprocessing) -> Result<Self> {
        preprocessing.check(3)?;
        self.input = preprocessing.input(self.input.shape());
        self.preprocessing = preprocessing;
        Ok(self)
    }

    /// Sets the number of heads of each attention, which a file does not say either. Default: one for 64 channels.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a number that does not divide the channels.
    ///
    /// ```
    /// use vis::{Model, model::VisionTransformer};
    /// let model = VisionTransformer::with_random_weights(0, &Default::default())?.with_heads(8)?;
    /// let maps = model.activation(model.input().zeros(&model.device()), "blocks.0.attn.softmax")?;
    /// assert_eq!(maps.dims()[1], 8);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn with_heads(mut self, heads: usize) -> Result<Self> {
        let channels = self.positions.dims()[2];
        if heads == 0 || !channels.is_multiple_of(heads) {
            let expected = format!("a number that divides the {channels} channels of a token");
            return Err(Error::invalid("the number of heads", expected, heads));
        }
        self.blocks.iter_mut().for_each(|block| block.heads = heads);
        Ok(self)
    }

    fn assemble(parameters: &mut Parameters) -> Result<Self> {
        let form = Form::of(parameters);
        let weight = format!("{}.weight", form.outer("patch_embed.proj"));
        let (channels, patch) = match parameters.shape(&weight) {
            Some(&[channels, 3, patch, other]) if patch == other && channels > 0 && patch > 0 => {
                (channels, patch)
            }
            _ => (WIDTH, PATCH),
        };
        let tokens = match parameters.shape(form.outer("pos_embed")) {
            Some(&[1, tokens, _]) => tokens,
            _ => (SIDE / PATCH).pow(2) + 1,
        };
        // A square of patches and the class token; another number is refused with its shape.
        let side = tokens.saturating_sub(1).isqrt().max(1);
        // A convolution whose windows don't overlap is a dense layer over each of them.
        let inputs = 3 * patch * patch;
        let shape = [channels, inputs];
        let weight = parameters.arranged(&weight, &[channels, 3, patch, patch], shape, |values| values)?;
        let bias = parameters.tensor(&format!("{}.bias", form.outer("patch_embed.proj")), [channels])?;
        let class_token = parameters.tensor(form.outer("cls_token"), [1, 1, channels])?;
        let positions = parameters.tensor(form.outer("pos_embed"), [1, side * side + 1, channels])?;
        let depth = match parameters.is_random() {
            true => DEPTH,
            false => (0..).take_while(|index| form.has_block(parameters, *index)).count(),
        };
        let blocks = (0..depth)
            .map(|index| Block::assemble(parameters, form, index, channels))
            .collect::<Result<Vec<_>>>()?;
        let norm = LayerNorm::load(parameters, form.outer("norm"), channels, EPSILON)?;
        let name = form.outer("head");
        let has_classes = parameters.is_random() || parameters.shape(&format!("{name}.weight")).is_some();
        let classes = torch::outputs(parameters, &format!("{name}.bias"), imagenet::CLASSES);
        let head = has_classes.then(|| torch::dense(parameters, name, [classes, channels])).transpose()?;
        let preprocessing = match form {
            Form::Timm => Preprocessing::tf(),
            Form::Torchvision => Preprocessing::imagenet(),
        };
        Ok(Self {
            input: preprocessing.input([3, side * patch, side * patch]),
            preprocessing,
            patch,
            embedding: Dense::new(weight, bias),
            class_token,
            positions,
            blocks,
            norm,
            head,
            device: parameters.device().clone(),
        })
    }

    /// The patches of an image, row by row: `[batch, patches, 3 · patch²]`.
    fn patches(&self, image: Tensor<4>) -> Tensor<3> {
        let [batch, channels, height, width] = image.dims();
        let (side, rows, columns) = (self.patch, height / self.patch, width / self.patch);
        image.reshape([batch, channels, rows, side, columns, side]).permute([0, 2, 4, 1, 3, 5]).reshape([
            batch,
            rows * columns,
            channels * side * side,
        ])
    }
}

impl Block {
    fn assemble(parameters: &mut Parameters, form: Form, index: usize, channels: usize) -> Result<Self> {
        let block = form.block(index);
        let [norm1, proj, norm2, fc1, fc2] = form.parts(parameters, &block);
        let [weight, bias] = form.qkv(&block);
        let hidden = torch::outputs(parameters, &format!("{fc1}.bias"), HIDDEN * channels);
        let weight = parameters.tensor(&weight, [3 * channels, channels])?;
        let bias = parameters.tensor(&bias, [3 * channels])?;
        let heads = if channels.is_multiple_of(OF_A_HEAD) { channels / OF_A_HEAD } else { 1 };
        Ok(Self {
            norm1: LayerNorm::load(parameters, &norm1, channels, EPSILON)?,
            qkv: Dense::new(weight, bias),
            proj: torch::dense(parameters, &proj, [channels, channels])?,
            norm2: LayerNorm::load(parameters, &norm2, channels, EPSILON)?,
            fc1: torch::dense(parameters, &fc1, [hidden, channels])?,
            fc2: torch::dense(parameters, &fc2, [channels, hidden])?,
            heads,
        })
    }

    fn forward(
        &self,
        name: &str,
        x: Tensor<3>,
        grid: [usize; 2],
        taps: &mut Taps,
    ) -> Result<Tensor<3>, Stop> {
        let shown =
            |part: &str, y: Tensor<3>, taps: &mut Taps| taps.tokens(&format!("{name}.{part}"), y, grid);
        let y = normalized(&self.norm1, x.clone(), taps);
        let y = shown("norm1", y, taps)?;
        let y = on_tokens(&self.qkv, y, taps);
        let y = shown("attn.qkv", y, taps)?;

        let [batch, tokens, channels] = [y.dims()[0], y.dims()[1], y.dims()[2] / 3];
        let (heads, width) = (self.heads, channels / self.heads);
        // [batch, heads, tokens, width] each
        let parts = y.reshape([batch, tokens, 3, heads, width]).permute([2, 0, 3, 1, 4]);
        let [queries, keys, values] =
            [0, 1, 2].map(|part| parts.clone().narrow(0, part, 1).reshape([batch, heads, tokens, width]));
        let likeness = (queries * (width as f32).powf(-0.5)).matmul(keys.swap_dims(2, 3));
        let attention = taps.attention(&format!("{name}.attn.softmax"), softmax_along(likeness, 3))?;
        // A map may have been replaced by several.
        let batch = attention.dims()[0];
        let y = attention.matmul(values).swap_dims(1, 2).reshape([batch, tokens, channels]);

        let y = on_tokens(&self.proj, y, taps);
        let y = shown("attn.proj", y, taps)?;
        let x = x + y;
        let y = normalized(&self.norm2, x.clone(), taps);
        let y = shown("norm2", y, taps)?;
        let y = on_tokens(&self.fc1, y, taps);
        let y = shown("mlp.fc1", y, taps)?;
        let y = gelu(y, taps);
        let y = shown("mlp.act", y, taps)?;
        let y = on_tokens(&self.fc2, y, taps);
        let y = shown("mlp.fc2", y, taps)?;
        taps.describe("residual sum", 0);
        taps.tokens(name, x + y, grid)
    }
}

/// A dense layer on each token.
fn on_tokens(dense: &Dense, x: Tensor<3>, taps: &mut Taps) -> Tensor<3> {
    let [batch, tokens, channels] = x.dims();
    let y = dense.forward(x.reshape([batch * tokens, channels]), taps);
    y.reshape([batch, tokens, dense.outputs()])
}

fn normalized(norm: &LayerNorm, x: Tensor<3>, taps: &mut Taps) -> Tensor<3> {
    let (y, parameters) = norm.forward(x);
    taps.describe("layer normalization", parameters);
    y
}

impl Model for VisionTransformer {
    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn is_frozen(&self) -> bool {
        true
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let [batch, _, height, width] = image.dims();
        let grid = [height / self.patch, width / self.patch];
        let x = self.preprocessing.forward(image).map_err(|error| taps.fail(error))?;
        let x = on_tokens(&self.embedding, self.patches(x), taps);
        let x = taps.tokens("patch_embed", x, grid)?;
        let batch = batch.max(x.dims()[0]);
        let class_token = self.class_token.clone().repeat_dim(0, batch);
        let mut x = Tensor::cat(vec![class_token, x], 1) + self.positions.clone();
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(&format!("blocks.{index}"), x, grid, taps)?;
        }
        let x = normalized(&self.norm, x, taps);
        let x = taps.tokens("norm", x, grid)?;
        let Some(head) = &self.head else { return Ok(()) };
        let x = head.forward(x.narrow(1, 0, 1).squeeze_dim(1), taps);
        let x = taps.layer("head", x)?;
        let x = softmax(x, taps);
        taps.layer("softmax", x)?;
        Ok(())
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn logits(&self) -> Option<&str> {
        self.head.as_ref().map(|_| "head")
    }

    fn class_name(&self, class: usize) -> Option<&str> {
        let head = self.head.as_ref()?;
        if head.outputs() == imagenet::CLASSES { imagenet::name(class) } else { None }
    }

    fn preset(&self) -> Preset {
        Preset::robust()
    }
}
