//! PNG, drawn from the SVG.

use crate::cli::Stop;

/// Pixels for each unit of the SVG, for today's screens.
const SCALE: f32 = 2.0;
/// Pixels of a side; larger pictures are scaled down.
const SIDE_MAX: f32 = 16_000.0;

/// The picture as a PNG.
pub(super) fn write(svg: &str) -> Result<Vec<u8>, Stop> {
    use resvg::{tiny_skia, usvg};
    let failed =
        |why: String| Stop::failed(format!("the picture cannot be drawn as PNG: {why}; --format svg can be"));
    let mut options = usvg::Options::default();
    options.fontdb_mut().load_system_fonts();
    if options.fontdb.is_empty() {
        return Err(failed("this machine has no fonts to write names with".to_owned()));
    }
    // For machines that have none of the fonts in the picture.
    let family =
        options.fontdb.faces().find_map(|face| face.families.first()).map(|(family, _)| family.clone());
    if let Some(family) = family {
        options.fontdb_mut().set_sans_serif_family(family);
    }
    let tree = usvg::Tree::from_str(svg, &options).map_err(|error| failed(error.to_string()))?;
    let size = tree.size();
    let scale = SCALE.min(SIDE_MAX / size.width().max(size.height()));
    let side = |units: f32| ((units * scale).ceil() as u32).max(1);
    let mut pixels = tiny_skia::Pixmap::new(side(size.width()), side(size.height()))
        .ok_or_else(|| failed("it is too large".to_owned()))?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failed(error.to_string()))
}
