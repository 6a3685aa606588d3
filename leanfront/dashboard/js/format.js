/** Formatting of numbers, and names of measurements. */

const LABELS = {
  accuracy: "accuracy",
  memory_bytes: "memory",
  file_bytes: "file",
  macs: "MACs",
  bops: "BOPs",
  sparse_macs: "sparse MACs",
  latency_ms: "latency",
  activation_memory_bytes: "activation memory",
  top5_accuracy: "top-5 accuracy",
  cross_entropy: "cross-entropy",
  ece: "ECE",
  mce: "mCE",
  pie_rate: "PIE rate",
  flip_rate: "flip rate",
  worst_class_drop: "worst class drop",
};
const UNITS = { byte: "bytes", MAC: "MACs", "bit operation": "bit operations", 1: "" };

/** Costs, of which less is better; also metrics of which less is better. */
const SMALLER_IS_BETTER = /^(cross_entropy|brier|nll|ece|mce|pie_rate|flip_rate|worst_class_drop)$/;

/** Measurements of the recovery training, not of the model. */
const RECOVERY = /^recovery_|_before$/;

/** Label of a measurement. */
export function label(name) {
  return LABELS[name] ?? String(name).replaceAll("_", " ");
}

/** Unit in words, "" for shares. */
function unitName(unit) {
  return UNITS[unit] ?? unit ?? "";
}

/** Label and unit for an axis. */
export function axisTitle(name, unit) {
  const said = unitName(unit);
  return said && said !== label(name) ? `${label(name)}, ${said}` : label(name);
}

/** Whether less is better. */
export function smallerIsBetter(name, split) {
  return !split || SMALLER_IS_BETTER.test(name);
}

/** Whether a measurement describes how a candidate was recovered. */
export function isOfRecovery(name) {
  return RECOVERY.test(name);
}

/** A number with a suitable number of digits for its unit; "–" if missing. */
export function number(value, unit = "") {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit === "byte") return bytes(value);
  if (unit === "MAC" || unit === "bit operation") return count(value);
  if (unit === "1") return isTiny(value) ? value.toExponential(1) : trimmed(value.toFixed(4), 1);
  if (unit === "ms") return `${significant(value)} ms`;
  return unit ? `${significant(value)} ${unitName(unit)}` : significant(value);
}

function isTiny(value) {
  return value !== 0 && Math.abs(value) < 5e-5;
}

function trimmed(text, least) {
  const [whole, digits = ""] = text.split(".");
  const kept = digits.replace(/0+$/, "").padEnd(least, "0");
  return kept ? `${whole}.${kept}` : whole;
}

/** Three significant digits. */
export function significant(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return count(value, digits);
  return String(Number(value.toPrecision(digits)));
}

/** Bytes in powers of 1000, as on the command line: 41.2 KB. */
export function bytes(value) {
  return scaled(value, [" B", " KB", " MB", " GB", " TB"]);
}

/** A count in powers of 1000: 20.1 M. */
export function count(value, digits = 3) {
  if (Math.abs(value) < 1e-3 && value !== 0) return value.toExponential(digits - 1);
  return scaled(value, ["", " K", " M", " G", " T", " P"], digits);
}

function scaled(value, suffixes, digits = 3) {
  let size = Math.abs(value);
  let place = 0;
  while (Number(size.toPrecision(digits)) >= 1000 && place < suffixes.length - 1) {
    size /= 1000;
    place += 1;
  }
  const text = place === 0 && Number.isInteger(size) ? String(size) : String(Number(size.toPrecision(digits)));
  return `${value < 0 ? "−" : ""}${text}${suffixes[place]}`;
}

/** A difference with its sign. */
export function signed(value, unit = "") {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return value > 0 ? `+${number(value, unit)}` : number(value, unit).replace("-", "−");
}

/** "0.8618 (0.852 to 0.871)". */
export function interval(measurement) {
  if (!measurement) return "–";
  const { value, low, high, unit } = measurement;
  if (low === null || low === undefined) return number(value, unit);
  return `${number(value, unit)} (${number(low, unit)} to ${number(high, unit)})`;
}

/** "9.1x less" or "1.2x more" than the dense model. */
export function ratio(value, dense) {
  if (!value || !dense) return "";
  return value <= dense ? `${significant(dense / value)}× less` : `${significant(value / dense)}× more`;
}

/** A time in the user's time zone. */
export function moment(text) {
  return text ? new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "–";
}

/**
 * Parse a size or count with units, as on the command line: "64KB", "64 KiB", "20M", "20000000".
 * @returns {number|null} null if it is not one
 */
export function parse(text) {
  const match = /^\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([KMGT])?(i)?(B)?\s*$/i.exec(text ?? "");
  if (!match) return null;
  const base = match[3] ? 1024 : 1000;
  return Number(match[1]) * base ** (1 + "KMGT".indexOf((match[2] ?? "").toUpperCase() || "-") || 0);
}
