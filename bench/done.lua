-- What came of a run, as one line of JSON: answers a second, milliseconds, faults.
function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"rate": %.2f, "p50": %.4f, "p99": %.4f, "answers": %d, "faults": %d}',
    summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
