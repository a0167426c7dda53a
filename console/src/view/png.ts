// Converts an SVG to PNG.

/** Pixels for a unit of the drawing, so that text is sharp. */
const SCALE = 2;
/** Pixels that browsers draw at most, on a side and in all. */
const SIDE_MAX = 16_000;
const AREA_MAX = 100_000_000;

/** Draws an SVG; a large one in fewer pixels. */
export async function png(svg: string): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const scale = Math.min(SCALE, SIDE_MAX / Math.max(width, height), Math.sqrt(AREA_MAX / (width * height)));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.floor(width * scale));
  canvas.height = Math.max(1, Math.floor(height * scale));
  canvas.getContext('2d')!.drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'));
  if (!blob) throw new Error('The picture is too large for a PNG: take the SVG.');
  return blob;
}
