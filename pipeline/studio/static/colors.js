/* Colours of structure maps, as in `nvgctl view`, and of the regions of a drawing. */

/** Children get hues close to their parent's. */
export function clusterColor(label, stage) {
  const hue = ((label + 0.5) / 2 ** stage) * 6;
  const value = label % 2 ? 0.7 : 0.95;
  const saturation = 0.65;
  const sector = Math.floor(hue);
  const rest = hue - sector;
  const p = value * (1 - saturation);
  const q = value * (1 - saturation * rest);
  const t = value * (1 - saturation * (1 - rest));
  const rgb = [
    [value, t, p],
    [q, value, p],
    [p, value, t],
    [p, q, value],
    [t, p, value],
    [value, p, q],
  ][sector % 6];
  return `rgb(${rgb.map(part => Math.round(part * 255)).join(",")})`;
}

/* Far apart in lightness as well as in hue, so that they differ for every eye. */
const REGIONS = ["#f3ead7", "#1f4e9c", "#e8743b", "#2b8a57", "#8d3b9e", "#f2c230", "#5bb8d4", "#7a2222"];
export const regionColor = region => REGIONS[region % REGIONS.length];

/** Lines across a square of a canvas: what holds several regions. */
export function hatch(pen, x, y, width, height, color = "#111") {
  pen.save();
  pen.beginPath();
  pen.rect(x, y, width, height);
  pen.clip();
  pen.strokeStyle = color;
  pen.lineWidth = Math.max(1, width / 14);
  const gap = Math.max(4, width / 4);
  pen.beginPath();
  for (let at = -height; at < width; at += gap) {
    pen.moveTo(x + at, y + height);
    pen.lineTo(x + at + height, y);
  }
  pen.stroke();
  pen.restore();
}

/** A structure map of labels on a canvas; `marked(position)` are hatched. */
export function drawLabels(canvas, labels, stage, grid, marked = () => false) {
  const pen = canvas.getContext("2d");
  const size = canvas.width / grid;
  labels.forEach((label, position) => {
    const x = (position % grid) * size;
    const y = Math.floor(position / grid) * size;
    pen.fillStyle = clusterColor(label, stage);
    pen.fillRect(x, y, size + 0.5, size + 0.5);
    if (marked(position)) hatch(pen, x, y, size, size);
  });
}
