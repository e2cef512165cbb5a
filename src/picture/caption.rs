//! Words on pictures, in an anti-aliased font that travels with the crate.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScaleFont, ScaleFont, point};
use image::{Rgb, RgbImage};

/// Ubuntu for reading, Hack for what Ubuntu lacks (mathematics, arrows, boxes); emoji are in neither.
static FONTS: LazyLock<Vec<FontRef<'static>>> = LazyLock::new(|| {
    use epaint_default_fonts::{HACK_REGULAR, UBUNTU_LIGHT};
    let files = [UBUNTU_LIGHT, HACK_REGULAR];
    files.into_iter().filter_map(|file| FontRef::try_from_slice(file).ok()).collect()
});

/// The light cut of the font is thin at small sizes; coverage to this power makes its strokes a little stronger.
const STROKE_GAMMA: f32 = 0.7;

/// How words are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TextStyle {
    /// The height of a line in pixels, from the top of the highest letter to the bottom of the lowest: 1 to
    /// 1000. From about 11 small letters can be read.
    pub(crate) size: f32,
    /// The colour of the letters.
    pub(crate) color: Rgb<u8>,
    /// The colour of a rim around the letters that keeps them readable on any ground, or none.
    pub(crate) halo: Option<Rgb<u8>>,
}

impl Default for TextStyle {
    /// White with a black halo, 16 pixels high.
    fn default() -> Self {
        Self { size: 16.0, color: Rgb([255; 3]), halo: Some(Rgb([0; 3])) }
    }
}

/// Text broken and shortened to fit a width: what [`fit_text`] returns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FittedText {
    /// The size at which every line fits.
    pub(crate) size: f32,
    /// The lines, at least one.
    pub(crate) lines: Vec<String>,
}

/// The width in pixels of one line of text at a size ([`TextStyle::size`]).
pub(crate) fn measure_text(text: &str, size: f32) -> f32 {
    text.chars().map(|letter| advance(letter, size)).sum()
}

/// Draws one line of text with its top left corner at `(x, y)`; what lies outside the picture is cut off.
///
/// A character that the fonts lack becomes an empty box, a tab or line break a space; accents that are
/// characters of their own and scripts whose letters change shape are not composed.
pub(crate) fn draw_text(picture: &mut RgbImage, text: &str, (x, y): (i32, i32), style: &TextStyle) {
    let size = style.size.clamp(1.0, 1000.0);
    let halo = style.halo.map(|color| (color, (size / 12.0).clamp(1.0, 4.0)));
    // All of the halo lies under all of the letters.
    for (color, radius) in halo.into_iter().chain([(style.color, 0.0)]) {
        let mut pen = x as f32;
        for letter in text.chars() {
            if pen > picture.width() as f32 + size {
                break;
            }
            draw_letter(picture, letter, size, (pen, y as f32), color, radius);
            pen += advance(letter, size);
        }
    }
}

/// Fits text to a width: first by a smaller size, then by more lines, then by leaving out the middle.
///
/// The size is the largest in `sizes` at which the text fits on one line. If there is none it is the smallest,
/// and the text is broken into at most `lines` lines, after a space or one of `_-/,.:;` where possible; what
/// still does not fit loses its middle to an ellipsis, for names often differ at their ends. Line breaks in the
/// text are kept, each line counting for itself. A width too small for even an ellipsis gives empty lines.
pub(crate) fn fit_text(text: &str, width: f32, sizes: RangeInclusive<f32>, lines: usize) -> FittedText {
    let (smallest, largest) = (sizes.start().clamp(1.0, 1000.0), sizes.end().clamp(1.0, 1000.0));
    let hard_lines: Vec<&str> = text.split('\n').map(str::trim).collect();
    let widest = hard_lines.iter().map(|line| measure_text(line, 1000.0)).fold(0.0, f32::max);
    // Widths grow in proportion to sizes; the hair's breadth covers rounding.
    let size = if widest > 0.0 { (width / widest * 999.9).min(largest) } else { largest };
    if size >= smallest {
        return FittedText { size, lines: hard_lines.into_iter().map(str::to_owned).collect() };
    }
    let mut broken = Vec::new();
    for line in hard_lines {
        let mut rest = line;
        for _ in 1..lines.max(1) {
            if measure_text(rest, smallest) <= width {
                break;
            }
            let (first, second) = rest.split_at(break_at(rest, width, smallest));
            broken.push(first.trim_end().to_owned());
            rest = second.trim_start();
        }
        broken.push(without_middle(rest, width, smallest));
    }
    FittedText { size: smallest, lines: broken }
}

/// Draws a short text, such as the number of a step, into the top left corner of a picture: white with a black halo, its
/// size chosen by the picture's, and never wider than it.
pub(crate) fn stamp(picture: &mut RgbImage, text: &str) {
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let size = (height.min(width) * 0.09).clamp(11.0, 48.0);
    let margin = (size * 0.25).ceil();
    let fitted = fit_text(&text.replace('\n', " "), width - 2.0 * margin, 6.0..=size, 1);
    let Some(line) = fitted.lines.first() else { return };
    let margin = margin as i32;
    draw_text(picture, line, (margin, margin), &TextStyle { size: fitted.size, ..TextStyle::default() });
}

/// Black or white, whichever can be read on a ground.
pub(super) fn ink_on(ground: Rgb<u8>) -> Rgb<u8> {
    let [red, green, blue] = ground.0.map(f32::from);
    if 0.299 * red + 0.587 * green + 0.114 * blue > 140.0 { Rgb([25; 3]) } else { Rgb([255; 3]) }
}

/// `share` of `other` in `one`.
pub(super) fn mix(one: Rgb<u8>, other: Rgb<u8>, share: f32) -> Rgb<u8> {
    let mix = |one: u8, other: u8| (f32::from(one) * (1.0 - share) + f32::from(other) * share).round() as u8;
    Rgb([mix(one[0], other[0]), mix(one[1], other[1]), mix(one[2], other[2])])
}

/// The character to show for one in a text, and none for what has no shape of its own.
fn shown(letter: char) -> Option<char> {
    match letter {
        letter if letter.is_whitespace() => Some(' '),
        // Joiners, direction marks, variation selectors and the byte order mark.
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => None,
        '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => None,
        letter if letter.is_control() => None,
        letter => Some(letter),
    }
}

/// The first font that has the character, or the first font's box for what is missing.
fn glyph(letter: char) -> Option<(&'static FontRef<'static>, GlyphId)> {
    let letter = shown(letter)?;
    let with_it = FONTS.iter().map(|font| (font, font.glyph_id(letter))).find(|(_, glyph)| glyph.0 != 0);
    with_it.or_else(|| FONTS.first().map(|font| (font, GlyphId(0))))
}

fn advance(letter: char, size: f32) -> f32 {
    glyph(letter).map_or(0.0, |(font, glyph)| PxScaleFont { font, scale: size.into() }.h_advance(glyph))
}

/// Draws a letter whose line starts at `(x, y)`, thickened by a radius.
fn draw_letter(
    picture: &mut RgbImage,
    letter: char,
    size: f32,
    (x, y): (f32, f32),
    color: Rgb<u8>,
    radius: f32,
) {
    let Some((font, glyph)) = glyph(letter) else { return };
    // All letters of a line stand on the base line of the first font.
    let base = FONTS.first().map_or(0.0, |font| PxScaleFont { font, scale: size.into() }.ascent());
    let glyph = glyph.with_scale_and_position(size, point(x, (y + base).round()));
    let Some(outline) = font.outline_glyph(glyph) else { return };
    let bounds = outline.px_bounds();
    let reach = radius.ceil() as i32;
    let visible = |low: f32, high: f32, side: u32| high + radius >= 0.0 && low - radius <= side as f32 + 1.0;
    if !visible(bounds.min.x, bounds.max.x, picture.width())
        || !visible(bounds.min.y, bounds.max.y, picture.height())
    {
        return;
    }
    let (width, height) = (bounds.width() as i32 + 2 * reach, bounds.height() as i32 + 2 * reach);
    let (left, top) = (bounds.min.x as i32 - reach, bounds.min.y as i32 - reach);
    let mut covered = vec![0.0_f32; (width * height) as usize];
    outline.draw(|x, y, coverage| {
        let coverage = coverage.clamp(0.0, 1.0).powf(STROKE_GAMMA);
        for down in -reach..=reach {
            for across in -reach..=reach {
                let distance = ((down * down + across * across) as f32).sqrt();
                let coverage = coverage * (radius + 1.0 - distance).clamp(0.0, 1.0);
                let index = (y as i32 + reach + down) * width + x as i32 + reach + across;
                // The outline's rasteriser may step a pixel over its own bounds.
                if let Some(covered) = covered.get_mut(index as usize) {
                    *covered = covered.max(coverage);
                }
            }
        }
    });
    for (index, coverage) in covered.into_iter().enumerate() {
        let (x, y) = (left + index as i32 % width, top + index as i32 / width);
        if coverage > 0.0
            && let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
            && let Some(pixel) = picture.get_pixel_mut_checked(x, y)
        {
            *pixel = mix(*pixel, color, coverage);
        }
    }
}

/// Where to break a line that is too long: after the last space or joint that fits, or else after the last
/// letter that does.
fn break_at(line: &str, width: f32, size: f32) -> usize {
    let mut used = 0.0;
    let (mut after_letter, mut after_joint) = (0, 0);
    for (at, letter) in line.char_indices() {
        used += advance(letter, size);
        // A space may hang over the edge: it is cut off.
        if used > width && !letter.is_whitespace() {
            break;
        }
        after_letter = at + letter.len_utf8();
        if letter.is_whitespace() || "_-/,.:;".contains(letter) {
            after_joint = after_letter;
        }
    }
    // A joint near the start would leave the line almost empty.
    if after_joint * 3 >= after_letter { after_joint } else { after_letter }
}

fn without_middle(line: &str, width: f32, size: f32) -> String {
    if measure_text(line, size) <= width {
        return line.to_owned();
    }
    let room = width - advance('…', size);
    if room < 0.0 {
        return String::new();
    }
    let taken = |letters: &mut dyn Iterator<Item = char>, room: f32| -> (usize, f32) {
        let (mut bytes, mut used) = (0, 0.0);
        for letter in letters {
            let wider = used + advance(letter, size);
            if wider > room {
                break;
            }
            (bytes, used) = (bytes + letter.len_utf8(), wider);
        }
        (bytes, used)
    };
    let (head, used) = taken(&mut line.chars(), room * 0.55);
    let (tail, _) = taken(&mut line.chars().rev(), room - used);
    // A width that is right to the last bit may round up when it is measured again: the head gives way.
    let mut head = line[..head].trim_end().to_owned();
    let tail = line[line.len() - tail..].trim_start();
    while measure_text(&format!("{head}…{tail}"), size) > width && head.pop().is_some() {}
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ink_columns(picture: &RgbImage) -> Vec<u32> {
        (0..picture.width())
            .filter(|x| (0..picture.height()).any(|y| picture.get_pixel(*x, y)[0] > 40))
            .collect()
    }

    #[test]
    fn all_fonts_can_be_read() {
        assert_eq!(FONTS.len(), 2);
    }

    #[test]
    fn the_ink_is_as_wide_as_measured_and_as_high_as_the_size() {
        for size in [11.0, 16.0, 40.0] {
            let (text, origin) = ("Hamburg lüfty (gjpq) |", 20);
            let mut picture = RgbImage::new(600, 100);
            draw_text(
                &mut picture,
                text,
                (origin, 30),
                &TextStyle { size, halo: None, ..TextStyle::default() },
            );
            let columns = ink_columns(&picture);
            let (first, last) = (columns[0] as f32, columns[columns.len() - 1] as f32 + 1.0);
            // Letters have some white on either side, within their advance.
            assert!(first >= 20.0 && first < 20.0 + size * 0.3, "{size}: {first}");
            let end = 20.0 + measure_text(text, size);
            assert!(last <= end + 0.5 && last > end - size * 0.5, "{size}: {last} of {end}");
            let rows: Vec<_> =
                (0..100).filter(|y| (0..600).any(|x| picture.get_pixel(x, *y)[0] > 40)).collect();
            assert!(rows[0] >= 30 && rows[rows.len() - 1] < 30 + size.ceil() as u32, "{size}: {rows:?}");
        }
    }

    #[test]
    fn a_halo_surrounds_the_letters_and_keeps_them_readable_on_their_own_colour() {
        let mut picture = RgbImage::from_pixel(60, 30, Rgb([255; 3]));
        draw_text(&mut picture, "12", (5, 5), &TextStyle { size: 20.0, ..TextStyle::default() });
        let dark = picture.pixels().filter(|pixel| pixel[0] < 60).count();
        assert!(dark > 40, "{dark}");
    }

    #[test]
    fn a_stamp_begins_at_its_margin_and_ends_before_the_other_one() {
        for ((width, height), text) in [
            ((60, 200), "step 128 of 1000"), // shrunk to the width
            ((66, 91), "step 128 of 1000"),
            ((200, 60), "128"),
            ((401, 333), "128"),
        ] {
            let mut picture = RgbImage::from_pixel(width, height, Rgb([120; 3]));
            stamp(&mut picture, text);
            let drawn: Vec<_> =
                picture.enumerate_pixels().filter(|(.., pixel)| pixel.0 != [120; 3]).collect();
            let wanted = (height.min(width) as f32 * 0.09).clamp(11.0, 48.0);
            let (margin, halo) = ((wanted * 0.25).ceil() as u32, 4);
            let left = drawn.iter().map(|(x, ..)| *x).min().unwrap();
            let right = drawn.iter().map(|(x, ..)| *x).max().unwrap();
            let below = drawn.iter().map(|(_, y, _)| *y).max().unwrap();
            assert!(left + halo >= margin && left <= margin + 3, "{width}: {left} beside {margin}");
            assert!(
                right < width - margin + halo && below < margin + wanted.ceil() as u32 + halo,
                "{width}: {right}"
            );
        }
    }

    #[test]
    fn text_beyond_the_picture_and_any_unicode_do_not_panic() {
        let odd = "中文 🦀👩‍🔬 e\u{301} \u{202e}rtl \0\u{7}\t\n\u{feff} ﷽ 𝔘 → ≤ λ ∂ \u{10ffff}";
        for (x, y) in [(-500, -5), (0, 0), (95, 15), (i32::MAX, i32::MIN), (i32::MIN, i32::MAX)] {
            let mut picture = RgbImage::new(100, 20);
            for size in [f32::MIN_POSITIVE, 0.0, -3.0, 16.0, 300.0, f32::INFINITY] {
                draw_text(&mut picture, odd, (x, y), &TextStyle { size, ..TextStyle::default() });
            }
        }
        stamp(&mut RgbImage::new(0, 0), odd);
        stamp(&mut RgbImage::new(3, 1), odd);
        assert!(fit_text(odd, 30.0, 8.0..=9.0, 2).lines.len() >= 2);
    }

    #[test]
    fn what_the_first_font_lacks_comes_from_the_second_and_the_rest_is_a_box() {
        for letter in ['a', 'ü', '…', '–', '→', '≤', 'λ', '∂', '×'] {
            assert!(glyph(letter).is_some_and(|(_, glyph)| glyph.0 != 0), "{letter}");
        }
        assert!(glyph('中').is_some_and(|(_, glyph)| glyph.0 == 0));
        assert!(advance('中', 16.0) > 3.0);
        assert_eq!(measure_text("a\u{200d}\u{fe0f}\u{7}", 16.0), measure_text("a", 16.0));
    }

    #[test]
    fn a_short_text_gets_the_largest_size_and_a_longer_one_the_size_that_just_fits() {
        assert_eq!(
            fit_text("cat", 200.0, 10.0..=20.0, 2),
            FittedText { size: 20.0, lines: vec!["cat".into()] }
        );
        let text = "Egyptian cat 86 %";
        let width = measure_text(text, 15.0);
        let fitted = fit_text(text, width, 10.0..=20.0, 2);
        assert!((fitted.size - 15.0).abs() < 0.01 && fitted.lines == [text], "{fitted:?}");
    }

    #[test]
    fn a_text_too_long_for_one_line_is_broken_at_a_joint() {
        let size = 10.0;
        let width = measure_text("block5_conv3 ", size);
        let fitted = fit_text("block5_conv3 filter 17", width, size..=20.0, 2);
        assert_eq!(fitted, FittedText { size, lines: vec!["block5_conv3".into(), "filter 17".into()] });
        let width = measure_text("mixed_4e_", size);
        assert_eq!(fit_text("mixed_4e_pool", width, size..=20.0, 2).lines, ["mixed_4e_", "pool"]);
        let width = measure_text("Donaudam", size);
        assert_eq!(fit_text("Donaudampfschiff", width, size..=20.0, 2).lines, ["Donaudam", "pfschiff"]);
    }

    #[test]
    fn line_breaks_are_kept() {
        let fitted = fit_text("first\nsecond", 500.0, 10.0..=20.0, 1);
        assert_eq!(fitted, FittedText { size: 20.0, lines: vec!["first".into(), "second".into()] });
    }

    #[test]
    fn no_line_is_ever_wider_than_asked() {
        let words = [
            "",
            "i",
            "a tabby cat on a mat",
            "supercalifragilisticexpialidocious",
            "中文字幕很长很长",
            "a\n\nb c",
        ];
        for text in words.iter().map(|word| (*word).to_owned()).chain([words.join("_"), "x".repeat(5000)]) {
            for width in [-3.0, 0.0, 1.0, 5.0, 17.3, 50.0, 200.0] {
                for lines in [0, 1, 2, 3] {
                    let fitted = fit_text(&text, width, 9.0..=18.0, lines);
                    assert!(!fitted.lines.is_empty());
                    for line in &fitted.lines {
                        let wide = measure_text(line, fitted.size);
                        assert!(line.is_empty() || wide <= width, "{line:?} is {wide} wide, not {width}");
                    }
                    let breaks = text.matches('\n').count() + 1;
                    assert!(fitted.lines.len() <= lines.max(1) * breaks);
                }
            }
        }
    }

    #[test]
    fn a_stamp_lies_in_its_corner() {
        let mut picture = RgbImage::from_pixel(200, 200, Rgb([90; 3]));
        stamp(&mut picture, "128");
        let changed: Vec<_> = picture.enumerate_pixels().filter(|(_, _, pixel)| pixel[0] != 90).collect();
        assert!(changed.iter().any(|(_, _, pixel)| pixel[0] > 200));
        assert!(changed.iter().all(|(x, y, _)| *x < 60 && *y < 40));
    }

    #[test]
    fn ink_is_black_from_a_luma_of_140_on() {
        for (ground, dark) in [
            ([255, 0, 0], false),   // 76
            ([0, 255, 0], true),    // 150
            ([0, 0, 255], false),   // 29
            ([255, 0, 255], false), // 105
            ([0, 238, 0], false),   // 139.7
            ([0, 239, 0], true),    // 140.3
            ([255, 100, 0], false), // 134.9
            ([255, 110, 0], true),  // 140.8
            ([0, 200, 190], false), // 139.1
            ([0, 200, 210], true),  // 141.3
            ([120, 120, 120], false),
            ([150, 150, 150], true),
        ] {
            assert_eq!(ink_on(Rgb(ground)).0 == [25; 3], dark, "{ground:?}");
        }
    }

    #[test]
    fn a_line_breaks_after_the_last_joint_unless_that_leaves_it_almost_empty() {
        let size = 10.0;
        let broken = |text: &str, fits: &str| {
            let width = measure_text(fits, size) + 0.01;
            fit_text(text, width, size..=size, 2).lines
        };
        // Letters fit beyond the joint.
        assert_eq!(broken("mixed_4e_pool", "mixed_4e_po"), ["mixed_4e_", "pool"]);
        assert_eq!(broken("a cat on mats", "a cat on m"), ["a cat on", "mats"]);
        // A joint at 4 of 10 letters counts, one at 2 of 8 does not.
        assert_eq!(broken("abc_defghijk", "abc_defghi"), ["abc_", "defghijk"]);
        assert_eq!(broken("a_bcdefghijk", "a_bcdefg"), ["a_bcdefg", "hijk"]);
        // Just a third counts.
        assert_eq!(broken("ab_cdefghijk", "ab_cdefgh"), ["ab_", "cdefghijk"]);
    }

    #[test]
    fn what_is_too_long_keeps_more_of_its_head_than_of_its_tail() {
        // 55 % of the room are for the head, what is left of it for the tail.
        let size = 10.0;
        for (line, width) in [
            ("abcdefghijklmnopqrstuvwxyz", 80.0),
            ("abcdefghijklmnopqrstuvwxyz", 51.5),
            ("blocks.4.expand.batch_norm.running_mean", 120.0),
            ("WWWWWWWWiiiiiiiiiiWWWWWWWW", 70.0),
        ] {
            let letters: Vec<char> = line.chars().collect();
            let wide = |part: &[char]| measure_text(&part.iter().collect::<String>(), size);
            let room = width - measure_text("…", size);
            let head = (0..letters.len()).rfind(|n| wide(&letters[..*n]) <= room * 0.55).unwrap();
            let left = room - wide(&letters[..head]);
            let tail = (0..letters.len()).rfind(|n| wide(&letters[letters.len() - n..]) <= left).unwrap();
            let expected: String =
                letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect();
            assert_eq!(fit_text(line, width, size..=size, 1).lines, [expected], "{line} in {width}");
        }
        // Room for the dots alone, and not even for them.
        let dots = measure_text("…", size);
        assert_eq!(fit_text("abc", dots, size..=size, 1).lines, ["…"]);
        assert_eq!(fit_text("abc", dots - 0.01, size..=size, 1).lines, [""]);
    }

    /// The columns and rows that a text changes, as `[left, right, top, bottom]`.
    fn extent(size: f32, halo: Option<Rgb<u8>>) -> [u32; 4] {
        let mut picture = RgbImage::from_pixel(120, 120, Rgb([128; 3]));
        draw_text(&mut picture, "H", (40, 30), &TextStyle { size, halo, ..TextStyle::default() });
        let drawn: Vec<_> = picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 != [128; 3]).collect();
        let of = |along: fn(&(u32, u32, &Rgb<u8>)) -> u32| {
            (drawn.iter().map(along).min().unwrap(), drawn.iter().map(along).max().unwrap())
        };
        let ((left, right), (top, bottom)) = (of(|p| p.0), of(|p| p.1));
        [left, right, top, bottom]
    }

    #[test]
    fn a_halo_is_a_twelfth_of_the_size_wide_and_from_one_to_four_pixels() {
        // A pixel at a distance is covered by what the radius has beyond it, plus one.
        for (size, radius) in
            [(8.0_f32, 1.0_f32), (12.0, 1.0), (18.0, 1.5), (30.0, 2.5), (36.0, 3.0), (60.0, 4.0)]
        {
            let (bare, around) = (extent(size, None), extent(size, Some(Rgb([0; 3]))));
            let reach = radius.ceil() as u32;
            let expected = [bare[0] - reach, bare[1] + reach, bare[2] - reach, bare[3] + reach];
            let off = |k: usize| around[k].abs_diff(expected[k]);
            assert!((0..4).all(|k| off(k) <= 1), "size {size}: {around:?}, not {expected:?}");
            assert!((0..4).any(|k| off(k) == 0), "size {size}: {around:?}, not {expected:?}");
        }
    }

    #[test]
    fn a_thickened_letter_covers_what_lies_within_the_radius_of_the_thin_one() {
        let white = Rgb([255; 3]);
        for (letter, size, radius) in [('H', 30.0, 2.5), ('g', 17.0, 1.4), ('L', 60.0, 4.0)] {
            let (mut thin, mut thick) = (RgbImage::new(100, 90), RgbImage::new(100, 90));
            draw_letter(&mut thin, letter, size, (30.0, 10.0), white, 0.0);
            draw_letter(&mut thick, letter, size, (30.0, 10.0), white, radius);
            let reach = radius.ceil() as i32;
            for (x, y, pixel) in thick.enumerate_pixels() {
                let mut covered = 0.0_f32;
                for (down, across) in (-reach..=reach).flat_map(|d| (-reach..=reach).map(move |a| (d, a))) {
                    let (from_x, from_y) = (x as i32 - across, y as i32 - down);
                    if let Some(pixel) = thin.get_pixel_checked(from_x.max(0) as u32, from_y.max(0) as u32) {
                        let share =
                            (radius + 1.0 - ((down * down + across * across) as f32).sqrt()).clamp(0.0, 1.0);
                        covered = covered.max(f32::from(pixel[0]) * share);
                    }
                }
                assert!(
                    (f32::from(pixel[0]) - covered).abs() <= 1.0,
                    "{letter} at {x}, {y}: {pixel:?}, not {covered}"
                );
            }
        }
    }

    #[test]
    fn text_over_an_edge_is_cut_there_and_nowhere_else() {
        // What is drawn into a window is what a large picture shows there, however far the text reaches out of it.
        let style = TextStyle { size: 60.0, ..TextStyle::default() };
        let mut large = RgbImage::from_pixel(300, 240, Rgb([90; 3]));
        draw_text(&mut large, "Hg", (110, 80), &style);
        let (width, height) = (24, 18);
        for (left, top) in
            (60..220).step_by(3).flat_map(|left| (60..170).step_by(3).map(move |top| (left, top)))
        {
            let mut window = RgbImage::from_pixel(width, height, Rgb([90; 3]));
            draw_text(&mut window, "Hg", (110 - left as i32, 80 - top as i32), &style);
            let expected = image::imageops::crop_imm(&large, left, top, width, height).to_image();
            assert!(window == expected, "window at {left}, {top}");
        }
    }

    #[test]
    fn every_kind_of_space_is_as_wide_as_a_space() {
        let space = measure_text(" ", 16.0);
        for letter in ["\t", "\n", "\u{a0}", "\u{3000}", "\u{2003}"] {
            assert_eq!(measure_text(letter, 16.0), space, "{letter:?}");
        }
        assert_eq!(measure_text("\u{1}", 16.0), 0.0);
    }
}
