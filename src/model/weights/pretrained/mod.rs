//! Trained networks whose files are on the network: which there are, and where a file is once it was fetched.

mod places;

use std::path::{Path, PathBuf};

use self::places::Places;
use super::download::{Download, hash_of};
use crate::error::nearest;
use crate::{Error, Result};

/// A trained network whose file is fetched when it is asked for: a pinned revision of a public file.
///
/// Nothing is fetched but by [`fetch`](Self::fetch), by the constructors `pretrained` of the networks
/// ([`Vgg16::pretrained`](crate::model::Vgg16)), and by the command `vis fetch`.
///
/// A file is looked for
///
/// 1. in the folder that the environment variable `VIS_WEIGHTS` names, as [`file_name`](Self::file_name),
/// 2. in the cache of Hugging Face, which Python's libraries fill: `HF_HUB_CACHE`, or else `HF_HOME/hub`, or else
///    `huggingface/hub` in the folder for caches (`XDG_CACHE_HOME`, `~/.cache`),
/// 3. in the cache of this crate: `VIS_CACHE`, or else `vis` in the system's folder for caches (`XDG_CACHE_HOME` or
///    `~/.cache`, `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows).
///
/// Wherever it is, it is taken only if its SHA-256 is right, which takes half a second to two for half a gigabyte. If it is
/// nowhere, it is fetched into the last of these, as [`Download`] does. `HF_ENDPOINT` names a mirror, and `HF_HUB_OFFLINE=1`
/// forbids it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pretrained {
    /// The name: `vgg16`, `resnet50`, …
    pub name: &'static str,
    /// What it is and on what it was trained.
    pub description: &'static str,
    /// The licence of the weights.
    pub licence: &'static str,
    /// The length of the file in bytes, to three digits.
    pub length: u64,
    /// The SHA-256 of the file.
    pub sha256: &'static str,
    /// The repository at Hugging Face.
    repository: &'static str,
    /// A commit, so that the file can't change; a branch where the commit isn't known, and the hash alone says that the file
    /// did not change.
    revision: &'static str,
}

/// The file of each repository.
const FILE: &str = "model.safetensors";

impl Pretrained {
    /// All of them. A row and a constructor is what another network takes.
    pub const ALL: &[Self] = &[
        Self {
            name: "vgg16",
            description: "VGG16 with its classes, ImageNet, torchvision",
            licence: "BSD-3-Clause (torchvision; the original VGG is CC BY 4.0)",
            length: 553_000_000,
            sha256: "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
            repository: "timm/vgg16.tv_in1k",
            revision: "3394518cba29aee1ea82a49d971be90d2dd1dab7",
        },
        Self {
            name: "vgg19",
            description: "VGG19 with its classes, ImageNet, torchvision",
            licence: "BSD-3-Clause (torchvision; the original VGG is CC BY 4.0)",
            length: 575_000_000,
            sha256: "11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669",
            repository: "timm/vgg19.tv_in1k",
            revision: "128d470",
        },
        Self {
            name: "resnet18",
            description: "ResNet-18, ImageNet, torchvision",
            licence: "BSD-3-Clause",
            length: 46_800_000,
            sha256: "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
            repository: "timm/resnet18.tv_in1k",
            revision: "a987fd6b60f845221bfff84b6f0191273ba56ead",
        },
        Self {
            name: "resnet34",
            description: "ResNet-34, ImageNet, timm's recipe A1",
            licence: "Apache-2.0",
            length: 87_300_000,
            sha256: "829a220f9529d2b1ffdc8719d3273463001e0daf411eaf1916865d9db62c0ed2",
            repository: "timm/resnet34.a1_in1k",
            revision: "main",
        },
        Self {
            name: "resnet50",
            description: "ResNet-50, ImageNet, torchvision's first",
            licence: "BSD-3-Clause",
            length: 102_000_000,
            sha256: "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
            repository: "timm/resnet50.tv_in1k",
            revision: "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8",
        },
        Self {
            name: "resnet50-a1",
            description: "ResNet-50, ImageNet, timm's recipe A1",
            licence: "Apache-2.0",
            length: 102_000_000,
            sha256: "773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb",
            repository: "timm/resnet50.a1_in1k",
            revision: "93271f4",
        },
        Self {
            name: "mobilenet-v2",
            description: "MobileNetV2, ImageNet, timm",
            licence: "Apache-2.0",
            length: 14_200_000,
            sha256: "55ea4fb3a96010b933710ebf44fc965b070d5cd054d3f35e44f2d1320b4a714e",
            repository: "timm/mobilenetv2_100.ra_in1k",
            revision: "f3ff81ba89de0bc46b546568ebeab2edef6b9d49",
        },
        Self {
            name: "mobilenet-v3-large",
            description: "MobileNetV3-Large, ImageNet, timm",
            licence: "Apache-2.0",
            length: 22_100_000,
            sha256: "f425af34cc1cead2b5d6211f789a1f30b94835dc32f9c0fcc5a916e4fd2dde85",
            repository: "timm/mobilenetv3_large_100.ra_in1k",
            revision: "6bb94b5210be33364f802aa99ef7109990a86c5f",
        },
        Self {
            name: "efficientnet-lite0",
            description: "EfficientNet-Lite0, ImageNet, in timm's form (vis bundles its own)",
            licence: "Apache-2.0",
            length: 18_800_000,
            sha256: "1b2a452450b5cf3f8f42da5b6214e71d5fda5666bef4dfae0699407e5bef13e1",
            repository: "timm/tf_efficientnet_lite0.in1k",
            revision: "3882593",
        },
    ];

    /// The network of this name.
    ///
    /// ```
    /// use vis::model::weights::Pretrained;
    /// let vgg16 = Pretrained::named("vgg16")?;
    /// assert_eq!(vgg16.file_name(), "vgg16-57b02691.safetensors");
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] with the names there are.
    pub fn named(name: &str) -> Result<&'static Self> {
        Self::ALL.iter().find(|network| network.name == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|network| network.name).collect();
            let meant = nearest(name, names.iter().copied());
            let meant = meant.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default();
            let there = format!("one of {}", names.join(", "));
            Error::invalid("the pretrained network", there, format!("`{name}`{meant}"))
        })
    }

    /// The name of its file in the cache and in the folder `VIS_WEIGHTS`: with the first digits of its SHA-256, so that two
    /// versions are two files.
    pub fn file_name(&self) -> String {
        format!("{}-{}.safetensors", self.name, &self.sha256[..8])
    }

    /// Where it is fetched from.
    pub fn url(&self) -> String {
        self.url_at(&Places::of_environment())
    }

    fn url_at(&self, places: &Places) -> String {
        format!("{}/{}/resolve/{}/{FILE}", places.endpoint, self.repository, self.revision)
    }

    /// The file, if one is there that has about the right length. Its SHA-256 is not looked at, and nothing is fetched: for
    /// lists of what is at hand.
    pub fn at_hand(&self) -> Option<PathBuf> {
        self.candidates(&Places::of_environment()).into_iter().next()
    }

    fn candidates(&self, places: &Places) -> Vec<PathBuf> {
        let mut candidates = places.all(self.repository, &self.file_name(), self.sha256, FILE);
        candidates.retain(|path| self.may_be(path));
        candidates
    }

    fn may_be(&self, path: &Path) -> bool {
        let length = path.metadata().ok().filter(|data| data.is_file()).map(|data| data.len());
        length.is_some_and(|length| length.abs_diff(self.length) <= self.length / 100)
    }

    /// The file, fetched if it isn't there. The closure may change the download:
    ///
    /// ```no_run
    /// use vis::model::weights::Pretrained;
    /// let file = Pretrained::named("vgg19")?.fetch(|download| download.offline(true))?;
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for a file in the folder `VIS_WEIGHTS` that has this name and another SHA-256, and those of
    /// [`Download::to`].
    pub fn fetch<'a>(&self, settings: impl FnOnce(Download<'a>) -> Download<'a>) -> Result<PathBuf> {
        self.fetch_at(&Places::of_environment(), settings)
    }

    fn fetch_at<'a>(
        &self,
        places: &Places,
        settings: impl FnOnce(Download<'a>) -> Download<'a>,
    ) -> Result<PathBuf> {
        let file_name = self.file_name();
        if let Some(named) = places.named_file(&file_name) {
            // Whoever put it there wants this one.
            let (_, sha256) = hash_of(&named)?;
            return if sha256 == self.sha256 {
                Ok(named)
            } else {
                let reason = format!("its SHA-256 is {sha256}, not {}", self.sha256);
                Err(Error::Format { path: named, kind: "file of this network", reason })
            };
        }
        let own = places.own_file(&file_name)?;
        for candidate in self.candidates(places) {
            if candidate != own && hash_of(&candidate)?.1 == self.sha256 {
                return Ok(candidate);
            }
        }
        let download = Download::new(self.url_at(places)).offline(places.offline);
        let download = settings(download).sha256(self.sha256).about(self.length);
        if let Some(folder) = own.parent().filter(|_| !download.is_offline()) {
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        download.to(&own)?;
        Ok(own)
    }
}

#[cfg(test)]
mod tests;
