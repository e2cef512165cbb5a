//! Many pictures side by side.

use std::ops::RangeInclusive;

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::caption::{FittedText, TextStyle, draw_text, fit_text, ink_on, measure_text};
use crate::{Error, Result};

/// The most pixels of a grid: 3 GB of memory.
const MOST_PIXELS: u64 = 1 << 30;

/// Cells of smaller pictures are widened to this many pixels if their captions need it: two lines of some 18 letters.
const READABLE_WIDTH: f32 = 96.0;

/// Pictures side by side on black, as `stitch_images` of keras-vis: `columns` in a row (fewer if there are fewer
/// pictures), `margin` pixels between them and none around them.
///
/// A cell is as large as the largest picture; smaller ones are centred in theirs. For captions see [`Grid`].
///
/// # Errors
/// [`Error::InvalidParameter`] if there are no pictures or columns, or the result would be absurdly large (more
/// than 2³⁰ pixels).
///
/// ```
/// # fn main() -> vis::Result<()> {
/// // Five in the first row, two in the second: 5·6 + 4·5 wide, 2·4 + 5 high.
/// let filters = vec![image::RgbImage::new(6, 4); 7];
/// assert_eq!(vis::picture::stitch(&filters, 5, 5)?.dimensions(), (50, 13));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "stitch_images")]
pub fn stitch(pictures: &[RgbImage], columns: usize, margin: u32) -> Result<RgbImage> {
    Grid::new(pictures).columns(columns).margin(margin).border(0).background([0; 3]).render()
}

/// Pictures side by side, each with a caption: one labelled row.
///
/// A [`Grid`] of one row. The title, if there is one, runs over the whole width.
///
/// # Errors
/// As [`Grid::render`].
///
/// ```
/// # fn main() -> vis::Result<()> {
/// let (photo, heat) = (image::RgbImage::new(224, 224), image::RgbImage::new(224, 224));
/// let panel = vis::picture::panel(&[("photo", &photo), ("Grad-CAM", &heat)], Some("tabby 97 %"))?;
/// assert!(panel.width() > 448 && panel.height() > 224);
/// # Ok(())
/// # }
/// ```
pub fn panel(pictures: &[(&str, &RgbImage)], title: Option<&str>) -> Result<RgbImage> {
    let captions = pictures.iter().map(|(caption, _)| *caption);
    let grid = Grid::new(pictures.iter().map(|(_, picture)| *picture)).captions(captions);
    let grid = grid.columns(pictures.len().max(1));
    if let Some(title) = title { grid.title(title) } else { grid }.render()
}

/// Pictures of any sizes in rows and columns, with captions and a title if wanted.
///
/// A cell is as large as the largest picture; smaller ones are centred in theirs. Captions are as large as the
/// cells allow, all of one size, and never run out of their cell: long ones first make all captions smaller,
/// then take two lines, then lose their middle to an ellipsis. Cells under 96 pixels are widened as far as their
/// captions need it to be read.
///
/// ```
/// # fn main() -> vis::Result<()> {
/// use vis::picture::Grid;
/// let filters = vec![image::RgbImage::new(128, 128); 6];
/// let names = (0..6).map(|filter| format!("filter {filter}"));
/// let grid = Grid::new(&filters).captions(names).title("block5_conv3").columns(3).render()?;
/// # assert!(grid.width() > 3 * 128);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a grid draws nothing until `render`"]
pub struct Grid<'a> {
    pictures: Vec<&'a RgbImage>,
    captions: Vec<String>,
    title: Option<String>,
    columns: Option<usize>,
    margin: u32,
    border: Option<u32>,
    background: Rgb<u8>,
    caption_size: Option<f32>,
    enlargement: u32,
}

impl<'a> Grid<'a> {
    /// A grid of pictures, filled row by row.
    ///
    /// ```
    /// # fn main() -> vis::Result<()> {
    /// // One picture and a border of the margin's width, 8.
    /// let picture = image::RgbImage::new(20, 10);
    /// assert_eq!(vis::picture::Grid::new([&picture]).render()?.dimensions(), (36, 26));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(pictures: impl IntoIterator<Item = &'a RgbImage>) -> Self {
        Self {
            pictures: pictures.into_iter().collect(),
            captions: Vec::new(),
            title: None,
            columns: None,
            margin: 8,
            border: None,
            background: Rgb([255; 3]),
            caption_size: None,
            enlargement: 1,
        }
    }

    /// A caption under each picture, in the order of the pictures; an empty one leaves its place empty.
    ///
    /// ```
    /// # fn main() -> vis::Result<()> {
    /// # let picture = image::RgbImage::new(20, 10);
    /// let grid = vis::picture::Grid::new([&picture, &picture]).columns(2).captions(["left", "right"]).render()?;
    /// assert!(grid.height() > 8 + 10 + 8);
    /// # Ok(())
    /// # }
    /// ```
    pub fn captions(mut self, captions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.captions = captions.into_iter().map(Into::into).collect();
        self
    }

    /// A line over all.
    ///
    /// ```
    /// # fn main() -> vis::Result<()> {
    /// # let picture = image::RgbImage::new(20, 10);
    /// let grid = vis::picture::Grid::new([&picture, &picture]).columns(2).title("Filters").render()?;
    /// assert!(grid.height() > 8 + 10 + 8);
    /// # Ok(())
    /// # }
    /// ```
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Pictures in a row, at least 1; unset, whatever makes the grid most nearly square.
    ///
    /// ```
    /// # fn main() -> vis::Result<()> {
    /// # let picture = image::RgbImage::new(20, 10);
    /// let grid = vis::picture::Grid::new([&picture, &picture]).columns(1).render()?;
    /// assert_eq!(grid.dimensions(), (8 + 20 + 8, 8 + 10 + 8 + 10 + 8));
    /// # Ok(())
    /// # }
    /// ```
    pub fn columns(mut self, columns: usize) -> Self {
        self.columns = Some(columns);
        self
    }

    /// Pixels between pictures: 8 unless set.
    ///
    /// ```
    /// # fn main() -> vis::Result<()> {
    /// # let picture = image::RgbImage::new(20, 10);
    /// let grid = vis::picture::Grid::new([&picture, &picture]).columns(2).margin(2).render()?;
    /// assert_eq!(grid.dimensions(), (2 + 20 + 2 + 20 + 2, 2 + 10 + 2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn margin(mut self, margin: u32) -> Self {
        self.margin = margin;
        self
    }

    /// Pixels around all: as many as the margin unless set.
    ///
    /// ```
    /// # fn main() -> vis::Result<()> {
    /// # let picture = image::RgbImage::new(20, 10);
    /// let grid = vis::picture::Grid::new([&picture, &picture]).columns(2).margin(2).border(0).render()?;
    /// assert_eq!(grid.dimensions(), (20 + 2 + 20, 10));
    /// # Ok(())
    /// # }
    /// ```
    pub fn border(mut self, border: u32) -> Self {
        self.border = Some(border);
        self
    }

    /// The colour behind and between pictures, as red, green, blue: white unless set. Captions are black or
    /// white, whichever can be read on it.
    ///
    /// ```
    /// # fn main() -> vis::Result<()> {
    /// # let picture = image::RgbImage::new(20, 10);
    /// let grid = vis::picture::Grid::new([&picture, &picture]).background([10, 20, 30]).render()?;
    /// assert_eq!(grid.get_pixel(0, 0).0, [10, 20, 30]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn background(mut self, color: [u8; 3]) -> Self {
        self.background = Rgb(color);
        self
    }

    /// The height of a caption's line in pixels; unset, a twelfth of the cell's width within 12 to 32. It is the
    /// most: long captions shrink it to 70 % before they are broken.
    ///
    /// ```
    /// # fn main() -> vis::Result<()> {
    /// # let picture = image::RgbImage::new(20, 10);
    /// let grid = vis::picture::Grid::new([&picture, &picture]).columns(2).captions(["a", "b"]).caption_size(20.0).render()?;
    /// // The line, and air above and below it.
    /// assert_eq!(grid.height(), 8 + 10 + 20 + 6 + 8);
    /// # Ok(())
    /// # }
    /// ```
    pub fn caption_size(mut self, size: f32) -> Self {
        self.caption_size = Some(size);
        self
    }

    /// Draws every pixel as a square of that many: for pictures too small to be seen or to carry captions, such
    /// as digits of 28 × 28. 1 unless set.
    ///
    /// ```
    /// # fn main() -> vis::Result<()> {
    /// # let picture = image::RgbImage::new(20, 10);
    /// let grid = vis::picture::Grid::new([&picture, &picture]).columns(2).enlarge(4).border(0).render()?;
    /// assert_eq!(grid.dimensions(), (80 + 8 + 80, 40));
    /// # Ok(())
    /// # }
    /// ```
    pub fn enlarge(mut self, factor: u32) -> Self {
        self.enlargement = factor;
        self
    }

    /// Draws the grid. Takes memory for the result, 3 bytes a pixel.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] if there are no pictures or no columns, more or fewer captions than pictures,
    /// or the result would be absurdly large (more than 2³⁰ pixels).
    ///
    /// ```
    /// use vis::picture::Grid;
    /// assert!(Grid::new([]).render().unwrap_err().to_string().contains("at least one picture"));
    /// ```
    pub fn render(&self) -> Result<RgbImage> {
        let layout = Layout::of(self)?;
        let mut canvas = RgbImage::from_pixel(layout.width, layout.height, self.background);
        let ink = ink_on(self.background);
        if let Some(title) = &layout.title {
            let area = (layout.border, layout.border, layout.width - 2 * layout.border);
            draw_centred(&mut canvas, title, area, ink);
        }
        for (index, picture) in self.pictures.iter().enumerate() {
            let (left, top) = layout.corner(index);
            let large;
            let picture = if self.enlargement > 1 {
                let (width, height) =
                    (picture.width() * self.enlargement, picture.height() * self.enlargement);
                large = imageops::resize(*picture, width, height, FilterType::Nearest);
                &large
            } else {
                *picture
            };
            let (spare_width, spare_height) =
                (layout.cell_width - picture.width(), layout.cell_height - picture.height());
            let place = (i64::from(left + spare_width / 2), i64::from(top + spare_height / 2));
            imageops::replace(&mut canvas, picture, place.0, place.1);
            if let Some(caption) = layout.captions.get(index) {
                let gap = padding(caption.size) / 2;
                draw_centred(
                    &mut canvas,
                    caption,
                    (left, top + layout.cell_height + gap, layout.cell_width),
                    ink,
                );
            }
        }
        Ok(canvas)
    }
}

/// Where everything goes.
struct Layout {
    width: u32,
    height: u32,
    border: u32,
    /// Where the first column starts.
    left: u32,
    columns: usize,
    column_step: u32,
    row_tops: Vec<u32>,
    cell_width: u32,
    cell_height: u32,
    captions: Vec<FittedText>,
    title: Option<FittedText>,
}

impl Layout {
    fn of(grid: &Grid<'_>) -> Result<Self> {
        let count = grid.pictures.len();
        if count == 0 {
            return Err(Error::invalid("a grid", "given at least one picture", "none"));
        }
        if grid.columns == Some(0) || grid.enlargement == 0 {
            return Err(Error::invalid("the columns and the enlargement of a grid", "at least 1", 0));
        }
        if !grid.captions.is_empty() && grid.captions.len() != count {
            let expected = format!("one for each of the {count} pictures, or none at all");
            return Err(Error::invalid("the captions of a grid", expected, grid.captions.len()));
        }
        // Sums are taken in u64, where they can't overflow, and checked before anything is drawn.
        let enlarged = |side: Option<u32>| u64::from(side.unwrap_or(0)) * u64::from(grid.enlargement);
        let picture_width = enlarged(grid.pictures.iter().map(|picture| picture.width()).max());
        let caption_sizes = sizes(picture_width as f32, grid.caption_size);
        let captions = grid.captions.iter().map(|caption| readable_width(caption, *caption_sizes.start()));
        let cell_width = captions.fold(picture_width, u64::max);
        let cell_height = enlarged(grid.pictures.iter().map(|picture| picture.height()).max());
        let margin = u64::from(grid.margin);
        let border = u64::from(grid.border.unwrap_or(grid.margin));
        let columns =
            grid.columns.unwrap_or_else(|| squarest(count, cell_width + margin, cell_height + margin));
        let columns = columns.min(count);
        let inside = columns as u64 * (cell_width + margin) - margin;

        let captions = fit_captions(&grid.captions, cell_width as f32, caption_sizes);
        let caption_size = captions.first().map_or(base_size(cell_width as f32), |caption| caption.size);
        let title = grid.title.as_deref().filter(|title| !title.trim().is_empty()).map(|title| {
            let largest = (caption_size * 1.3).max(((inside + 2 * border) as f32 / 50.0).min(48.0));
            let width = inside.max(readable_width(title, largest * 0.7));
            (fit_text(title, width as f32, largest * 0.7..=largest, 2), width)
        });
        let (title, title_width) = title.map_or((None, 0), |(title, width)| (Some(title), width));
        // A title may need more than its pictures, which then stand in the middle.
        let left = border + title_width.saturating_sub(inside) / 2;
        let width = 2 * border + inside.max(title_width);

        let mut top = border;
        if let Some(title) = &title {
            top += u64::from(lines_height(title) + padding(title.size) * 2);
        }
        let mut row_tops = Vec::new();
        for row in 0..count.div_ceil(columns) {
            row_tops.push(top);
            let in_row = captions.iter().skip(row * columns).take(columns);
            let strip = in_row.map(|caption| lines_height(caption) + padding(caption.size)).max();
            top += cell_height + u64::from(strip.unwrap_or(0)) + margin;
        }
        let height = top - margin + border;
        let pixels = width.checked_mul(height).filter(|pixels| (1..=MOST_PIXELS).contains(pixels));
        if pixels.is_none() || width.max(height) > u64::from(u32::MAX / 4) {
            let expected = format!("1 to {MOST_PIXELS} pixels large");
            return Err(Error::invalid("a grid", expected, format!("{width} × {height}")));
        }
        Ok(Self {
            width: width as u32,
            height: height as u32,
            border: border as u32,
            left: left as u32,
            columns,
            column_step: (cell_width + margin) as u32,
            row_tops: row_tops.into_iter().map(|top| top as u32).collect(),
            cell_width: cell_width as u32,
            cell_height: cell_height as u32,
            captions,
            title,
        })
    }

    fn corner(&self, index: usize) -> (u32, u32) {
        let (row, column) = (index / self.columns, index % self.columns);
        (self.left + column as u32 * self.column_step, self.row_tops[row])
    }
}

/// The number of columns whose grid comes nearest to a square; of two equally near the wider one.
fn squarest(count: usize, cell_width: u64, cell_height: u64) -> usize {
    let unevenness = |columns: &usize| {
        let rows = count.div_ceil(*columns);
        ((*columns as f64 * cell_width as f64) / (rows as f64 * cell_height as f64)).ln().abs()
    };
    (1..=count).rev().min_by(|a, b| unevenness(a).total_cmp(&unevenness(b))).unwrap_or(1)
}

fn base_size(cell_width: f32) -> f32 {
    (cell_width / 12.0).clamp(12.0, 32.0)
}

/// The smallest and the largest size of captions.
fn sizes(cell_width: f32, wanted: Option<f32>) -> RangeInclusive<f32> {
    let largest = wanted.unwrap_or(base_size(cell_width));
    // Under 10 pixels nothing can be read, unless it was asked for.
    (largest * 0.7).max(10.0).min(largest)..=largest
}

/// The least width at which some words can be read: their own, or [`READABLE_WIDTH`] for many.
fn readable_width(words: &str, size: f32) -> u64 {
    let widest = words.split('\n').map(|line| measure_text(line.trim(), size)).fold(0.0, f32::max);
    // A pixel to spare, for a width that is right to the last bit may be found too small.
    widest.min(READABLE_WIDTH - 1.0).ceil() as u64 + u64::from(widest > 0.0)
}

/// All captions at one size: the largest at which each fits its cell.
fn fit_captions(captions: &[String], width: f32, sizes: RangeInclusive<f32>) -> Vec<FittedText> {
    if captions.iter().all(|caption| caption.trim().is_empty()) {
        return Vec::new();
    }
    let fitted = captions.iter().map(|caption| fit_text(caption, width, sizes.clone(), 2).size);
    let size = fitted.fold(*sizes.end(), f32::min);
    captions.iter().map(|caption| fit_text(caption, width, size..=size, 2)).collect()
}

fn padding(size: f32) -> u32 {
    (size * 0.3).ceil() as u32
}

fn lines_height(text: &FittedText) -> u32 {
    text.lines.len() as u32 * text.size.ceil() as u32
}

fn draw_centred(
    canvas: &mut RgbImage,
    text: &FittedText,
    (left, top, width): (u32, u32, u32),
    color: Rgb<u8>,
) {
    let style = TextStyle { size: text.size, color, halo: None };
    for (index, line) in text.lines.iter().enumerate() {
        let spare = (width as f32 - measure_text(line, text.size)).max(0.0);
        let y = top + index as u32 * text.size.ceil() as u32;
        draw_text(canvas, line, (left as i32 + (spare / 2.0) as i32, y as i32), &style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(width: u32, height: u32, shade: u8) -> RgbImage {
        RgbImage::from_pixel(width, height, Rgb([shade; 3]))
    }

    #[test]
    fn seven_pictures_are_stitched_as_by_keras_vis() {
        // Picture i has shade 10·(i + 1); cell (row, column) starts at (9·row, 11·column).
        let pictures: Vec<_> = (1..=7).map(|index| plain(6, 4, index * 10)).collect();
        let stitched = stitch(&pictures, 5, 5).unwrap();
        assert_eq!(stitched.dimensions(), (50, 13));
        for (x, y, pixel) in stitched.enumerate_pixels() {
            let (column, row, inside) = (x / 11, y / 9, x % 11 < 6 && y % 9 < 4);
            let index = row * 5 + column;
            let expected = if inside && index < 7 { (index + 1) * 10 } else { 0 };
            assert_eq!(u32::from(pixel[0]), expected, "at {x}, {y}");
        }
    }

    #[test]
    fn fewer_pictures_than_columns_make_a_narrower_row_and_one_picture_is_itself() {
        assert_eq!(stitch(&[plain(6, 4, 9), plain(6, 4, 9)], 5, 5).unwrap().dimensions(), (17, 4));
        assert_eq!(stitch(&[plain(6, 4, 9)], 5, 5).unwrap(), plain(6, 4, 9));
    }

    #[test]
    fn smaller_pictures_are_centred_in_cells_of_the_largest_size() {
        // Cell: 6 × 5, from a wide and a high picture. The 2 × 1 picture starts at (2, 2) of the third cell.
        let stitched = stitch(&[plain(6, 1, 10), plain(1, 5, 20), plain(2, 1, 30)], 3, 0).unwrap();
        assert_eq!(stitched.dimensions(), (18, 5));
        let where_is = |shade: u8| -> Vec<_> {
            let found = stitched.enumerate_pixels().filter(|(_, _, pixel)| pixel[0] == shade);
            found.map(|(x, y, _)| (x, y)).collect()
        };
        assert_eq!(where_is(10), (0..6).map(|x| (x, 2)).collect::<Vec<_>>());
        assert_eq!(where_is(20), (0..5).map(|y| (8, y)).collect::<Vec<_>>());
        assert_eq!(where_is(30), [(14, 2), (15, 2)]);
    }

    #[test]
    fn five_hundred_and_twelve_pictures_of_all_sizes_fit() {
        let pictures: Vec<_> = (0..512).map(|i| plain(1 + i % 13, 1 + i % 7, 255)).collect();
        let stitched = stitch(&pictures, 32, 1).unwrap();
        assert_eq!(stitched.dimensions(), (32 * 14 - 1, 16 * 8 - 1));
        let white = stitched.pixels().filter(|pixel| pixel[0] == 255).count() as u32;
        assert_eq!(white, pictures.iter().map(|picture| picture.width() * picture.height()).sum::<u32>());
    }

    #[test]
    fn what_can_not_be_laid_out_is_refused_with_a_reason() {
        let picture = plain(4, 4, 0);
        for (grid, reason) in [
            (Grid::new([]), "at least one picture"),
            (Grid::new([&picture]).columns(0), "at least 1"),
            (Grid::new([&picture]).enlarge(0), "at least 1"),
            (Grid::new([&picture]).captions(["a", "b"]), "each of the 1 pictures"),
            (Grid::new([&picture]).margin(u32::MAX), "pixels large"),
            (Grid::new([&picture]).enlarge(u32::MAX), "pixels large"),
            (Grid::new([&RgbImage::new(0, 0)]).border(0), "pixels large"),
        ] {
            let error = grid.render().unwrap_err();
            assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn the_default_is_as_square_as_can_be() {
        for (count, columns) in [(1, 1), (2, 2), (3, 2), (5, 3), (6, 3), (7, 3), (12, 4), (64, 8), (100, 10)]
        {
            assert_eq!(squarest(count, 10, 10), columns, "{count}");
        }
        // Four panels of 3 : 1 stand best in one column, 3 : 4.
        assert_eq!(squarest(4, 30, 10), 1);
    }

    #[test]
    fn captions_never_leave_their_cell() {
        // The margin is wide and nothing but background; every pixel between the columns must stay so. The pictures of
        // 60 pixels stand in cells of 96, for the captions' sake.
        let pictures = vec![plain(60, 20, 128); 6];
        let captions = [
            "short",
            "a caption that takes two lines",
            "one_endless_name_without_any_spaces_to_break_at_whatsoever_17",
            "中文字幕很长很长很长很长很长很长很长很长",
            "",
            "W".repeat(500).leak(),
        ];
        for enlargement in [1, 2, 5] {
            let grid = Grid::new(&pictures).captions(captions).columns(3).margin(20).enlarge(enlargement);
            let drawn = grid.render().unwrap();
            for (x, y, pixel) in drawn.enumerate_pixels() {
                let cell = (60 * enlargement).max(96);
                let in_column = x >= 20 && (x - 20) % (cell + 20) < cell;
                assert!(in_column || pixel.0 == [255; 3], "at {x}, {y}");
            }
            let bottom = drawn.height() - 20;
            assert!(drawn.enumerate_pixels().all(|(_, y, pixel)| y < bottom || pixel.0 == [255; 3]));
        }
    }

    #[test]
    fn captions_are_drawn_under_their_pictures_and_contrast_with_the_background() {
        for (background, dark) in [([255; 3], true), ([0; 3], false), ([20, 20, 90], false)] {
            let picture = plain(100, 50, 128);
            let drawn =
                Grid::new([&picture]).captions(["tabby"]).background(background).margin(4).render().unwrap();
            let strip = drawn.enumerate_pixels().filter(|(_, y, _)| *y >= 54);
            let green: Vec<u8> = strip.map(|(_, _, pixel)| pixel[1]).collect();
            let ink = green.iter().filter(|green| if dark { **green < 100 } else { **green > 150 }).count();
            assert!(ink > 20, "{ink} pixels of ink on {background:?}");
        }
    }

    #[test]
    fn every_caption_can_be_read_under_pictures_of_any_number_and_size() {
        for count in [1, 2, 7, 64, 512] {
            for side in [1, 8, 28, 224] {
                let pictures = vec![plain(side, side, 128); count];
                let captions: Vec<_> = (0..count).map(|filter| format!("Filter {filter} (dead)")).collect();
                let grid = Grid::new(&pictures).captions(captions.clone());
                let layout = Layout::of(&grid).unwrap();
                // No letter is left out, and none is too small.
                for (fitted, caption) in layout.captions.iter().zip(&captions) {
                    assert!(fitted.size >= 10.0, "{count} of {side}: {}", fitted.size);
                    assert_eq!(&fitted.lines.join(" "), caption, "{count} of {side}");
                }
                let drawn = grid.render().unwrap();
                let mut ink = vec![0; count];
                for (x, y, pixel) in drawn.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 != [255; 3]) {
                    let column = (x - layout.left) / layout.column_step;
                    let row = layout.row_tops.iter().rposition(|top| *top <= y).unwrap();
                    let index = row * layout.columns + column as usize;
                    let (left, top) = layout.corner(index);
                    assert!(x - left < layout.cell_width, "{count} of {side}: ink beside cell {index}");
                    if y - top >= layout.cell_height {
                        // The strip ends before the margin.
                        let below = drawn.height().min(*layout.row_tops.get(row + 1).unwrap_or(&u32::MAX));
                        assert!(y < below - 8, "{count} of {side}: ink under the strip of cell {index}");
                        ink[index] += usize::from(pixel[0] < 128);
                    }
                }
                let least = ink.iter().min();
                assert!(least > Some(&40), "{count} of {side}: {least:?} dark pixels");
            }
        }
    }

    #[test]
    fn a_title_can_be_read_over_one_tiny_picture() {
        let picture = plain(8, 8, 128);
        let grid = Grid::new([&picture]).title("digits conv1").margin(4);
        let layout = Layout::of(&grid).unwrap();
        assert_eq!(layout.title.as_ref().unwrap().lines, ["digits conv1"]);
        let drawn = grid.render().unwrap();
        // The picture stands in the middle.
        let grey: Vec<u32> = drawn
            .enumerate_pixels()
            .filter(|(x, y, pixel)| *y == layout.row_tops[0] && pixel.0 == [128; 3] && *x < drawn.width())
            .map(|(x, _, _)| x)
            .collect();
        let (left, right) = (grey[0], drawn.width() - 1 - grey[grey.len() - 1]);
        assert!(grey.len() == 8 && left.abs_diff(right) <= 1, "{left} and {right}");
    }

    #[test]
    fn pictures_keep_their_bytes_under_captions_and_title() {
        let picture = RgbImage::from_fn(80, 40, |x, y| Rgb([x as u8, y as u8, 3]));
        let drawn = Grid::new([&picture]).captions(["caption"]).title("Title").margin(6).render().unwrap();
        let top = (0..drawn.height()).find(|y| drawn.get_pixel(6, *y).0 == [0, 0, 3]).unwrap();
        assert_eq!(imageops::crop_imm(&drawn, 6, top, 80, 40).to_image(), picture);
        assert!(top > 6 + 12);
    }

    #[test]
    fn enlarged_pixels_are_squares() {
        let picture = RgbImage::from_raw(2, 1, vec![10, 10, 10, 200, 200, 200]).unwrap();
        let drawn = Grid::new([&picture]).enlarge(3).border(0).render().unwrap();
        assert_eq!(drawn.dimensions(), (6, 3));
        assert!(drawn.enumerate_pixels().all(|(x, _, pixel)| pixel[0] == if x < 3 { 10 } else { 200 }));
    }

    #[test]
    fn a_panel_is_one_row() {
        let (one, other) = (plain(30, 30, 1), plain(40, 20, 2));
        let drawn = panel(&[("a", &one), ("b", &other)], None).unwrap();
        assert_eq!(drawn.width(), 8 + 40 + 8 + 40 + 8);
        assert!(matches!(panel(&[], None), Err(Error::InvalidParameter { .. })));
    }

    #[test]
    fn sizes_of_captions_follow_the_cell_between_readable_and_large() {
        for (cell, expected) in [(50.0, 12.0), (144.0, 12.0), (240.0, 20.0), (300.0, 25.0), (1000.0, 32.0)] {
            assert_eq!(base_size(cell), expected, "{cell}");
        }
        let close = |sizes: RangeInclusive<f32>, start: f32, end: f32| {
            assert!((sizes.start() - start).abs() < 1e-5 && (sizes.end() - end).abs() < 1e-5, "{sizes:?}");
        };
        close(sizes(240.0, None), 14.0, 20.0);
        close(sizes(100.0, None), 10.0, 12.0); // never under 10 of itself
        close(sizes(100.0, Some(30.0)), 21.0, 30.0);
        close(sizes(100.0, Some(8.0)), 8.0, 8.0); // but if asked for
        assert_eq!([1.0, 10.0, 12.0, 20.0, 26.0].map(padding), [1, 3, 4, 6, 8]);
    }

    #[test]
    fn words_need_their_width_and_a_pixel_to_spare_up_to_a_readable_width() {
        assert_eq!(readable_width("", 12.0), 0);
        assert_eq!(readable_width(" \n ", 12.0), 0);
        let width = measure_text("tabby", 12.0);
        assert_eq!(readable_width("tabby", 12.0), width.ceil() as u64 + 1);
        assert_eq!(readable_width("i\n tabby \nj", 12.0), width.ceil() as u64 + 1);
        assert_eq!(readable_width(&"tabby ".repeat(20), 12.0), READABLE_WIDTH as u64);
    }

    #[test]
    fn a_layout_is_worked_out_by_hand() {
        // Cells of 200 × 100 in two columns: 2·(200 + 10) − 10 = 410 inside, and a border of 7.
        let pictures = vec![plain(200, 100, 128); 5];
        let grid = Grid::new(&pictures).columns(2).margin(10).border(7);
        let bare = Layout::of(&grid).unwrap();
        assert_eq!((bare.width, bare.height), (424, 7 + 3 * 100 + 2 * 10 + 7));
        assert_eq!(bare.row_tops, [7, 117, 227]);
        assert_eq!(
            [0, 1, 2, 3, 4].map(|k| bare.corner(k)),
            [(7, 7), (217, 7), (7, 117), (217, 117), (7, 227)]
        );
        // Captions of size 20 are one line of 20 and a padding of 6. A title of 1.3 times that is 26, one line and
        // twice a padding of 8: 42.
        let titled = grid.clone().caption_size(20.0).captions(["a", "b", "c", "d", "e"]).title("Title");
        let layout = Layout::of(&titled).unwrap();
        assert_eq!(layout.title.as_ref().map(|title| title.size), Some(26.0));
        assert_eq!(layout.row_tops, [49, 185, 321]);
        assert_eq!((layout.width, layout.height), (424, 321 + 126 + 7));
        assert_eq!(layout.corner(3), (217, 185));
        // A row is as high as its highest caption: two lines are 40 and 6.
        let two = grid.clone().caption_size(20.0).captions(["a", "b", "c\nc", "d", "e"]);
        let layout = Layout::of(&two).unwrap();
        assert_eq!(layout.row_tops, [7, 7 + 136, 7 + 136 + 156]);
        assert_eq!(layout.height, 7 + 136 + 156 + 126 + 7);
    }

    #[test]
    fn a_title_grows_with_the_grid_and_shrinks_to_seven_tenths_at_most() {
        let title = |pictures: &[RgbImage], border: u32, title: &str| {
            let grid = Grid::new(pictures).columns(pictures.len()).margin(0).border(border).title(title);
            let layout = Layout::of(&grid).unwrap();
            (layout.title.unwrap(), layout.left, layout.width)
        };
        let close =
            |found: f32, expected: f32| assert!((found - expected).abs() < 1e-3, "{found}, not {expected}");
        // A fiftieth of 2000 + 2·30 pixels is more than 1.3 times 12.
        let (fitted, left, width) = title(&vec![plain(100, 50, 9); 20], 30, "Title");
        close(fitted.size, 41.2);
        assert_eq!((left, width), (30, 2060));
        // Of 4000 it would be 80: never more than 48.
        close(title(&vec![plain(100, 50, 9); 40], 0, "Title").0.size, 48.0);
        // 1.3 times 25 is more than a fiftieth of 600.
        close(title(&[plain(300, 50, 9), plain(300, 50, 9)], 0, "Title").0.size, 32.5);
        // Too long for one line of 300: seven tenths of 32.5, in two lines.
        let long = "a title that is too long for a single line of it";
        let (fitted, ..) = title(&[plain(300, 50, 9)], 0, long);
        close(fitted.size, 22.75);
        assert_eq!(fitted.lines.len(), 2);
        // Over a tiny picture the title takes the room it needs, and the picture stands in the middle.
        let (fitted, left, width) = title(&[plain(8, 8, 9)], 5, "Title");
        let needs = readable_width("Title", 15.6 * 0.7) as u32;
        assert_eq!((left, width), (5 + (needs - 8) / 2, needs + 10));
        assert!(measure_text("Title", fitted.size) <= needs as f32);
    }

    #[test]
    fn a_side_is_at_most_a_quarter_of_what_32_bits_count() {
        let row = |margin: u32| {
            let (one, other) = (plain(1, 1, 0), plain(1, 1, 0));
            let grid = Grid::new([&one, &other]).columns(2).border(0).margin(margin);
            Layout::of(&grid).map(|layout| (layout.width, layout.height))
        };
        let most = u32::MAX / 4;
        assert_eq!(row(most - 2).unwrap(), (most, 1));
        assert!(row(most - 1).is_err() && row(most).is_err());
    }

    #[test]
    fn words_stand_in_the_middle_over_and_under_pictures() {
        let pictures = [plain(200, 90, 128), plain(120, 100, 60), plain(198, 99, 30)];
        let grid = Grid::new(&pictures).columns(2).margin(10).border(7).caption_size(20.0);
        let grid = grid.captions(["first", "second of\ntwo lines", "third"]).title("The title");
        let drawn = grid.render().unwrap();
        // The title is 26 high from the border on, and 8 twice; captions begin 3 pixels under their cells of 200 × 100.
        let mut expected = RgbImage::from_pixel(424, 7 + 42 + 100 + 46 + 10 + 100 + 26 + 7, Rgb([255; 3]));
        let mut write = |words: &str, size: f32, (left, top, width): (i32, i32, f32)| {
            let spare = ((width - measure_text(words, size)) / 2.0) as i32;
            let style = TextStyle { size, color: Rgb([25; 3]), halo: None };
            draw_text(&mut expected, words, (left + spare, top), &style);
        };
        write("The title", 26.0, (7, 7, 410.0));
        write("first", 20.0, (7, 49 + 103, 200.0));
        write("second of", 20.0, (217, 49 + 103, 200.0));
        write("two lines", 20.0, (217, 49 + 123, 200.0));
        write("third", 20.0, (7, 205 + 103, 200.0));
        // Pictures stand in the middle of their cells.
        for (picture, (left, top)) in pictures.iter().zip([(7, 49 + 5), (217 + 40, 49), (7 + 1, 205)]) {
            imageops::replace(&mut expected, picture, left, top);
        }
        assert_eq!(drawn.dimensions(), expected.dimensions());
        assert!(drawn == expected);
    }

    #[test]
    fn pictures_of_several_sizes_are_enlarged_about_the_middle_of_their_cells() {
        // 3 times 4 × 2 and 2 × 3: cells of 12 × 9.
        let pictures = [plain(4, 2, 50), plain(2, 3, 200)];
        let drawn = Grid::new(&pictures).columns(2).margin(5).border(1).enlarge(3).render().unwrap();
        assert_eq!(drawn.dimensions(), (2 + 12 + 5 + 12, 2 + 9));
        for (x, y, pixel) in drawn.enumerate_pixels() {
            let first = (1..13).contains(&x) && (2..8).contains(&y);
            let second = (21..27).contains(&x) && (1..10).contains(&y);
            let expected = if first {
                50
            } else if second {
                200
            } else {
                255
            };
            assert_eq!(pixel[0], expected, "at {x}, {y}");
        }
    }

    #[test]
    fn the_default_columns_count_the_margins() {
        // With 20 around them 30 × 10 are 50 × 30, of which two by two are squarest.
        let pictures = vec![plain(30, 10, 9); 4];
        let columns = |margin: u32| Layout::of(&Grid::new(&pictures).margin(margin)).unwrap().columns;
        assert_eq!((columns(0), columns(20)), (1, 2));
    }
}
