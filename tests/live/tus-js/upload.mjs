// Sends a file by tus-js-client; standard output gets one JSON line for each answer, and at the
// end {"done": true}. Ends with 1 when the client gives up. The one argument is JSON.
import { createReadStream, statSync } from "node:fs";
import * as tus from "tus-js-client";

const { file, storage, ...options } = JSON.parse(process.argv[2]);
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const upload = new tus.Upload(createReadStream(file), {
  ...options,
  uploadSize: statSync(file).size,
  urlStorage: new tus.FileUrlStorage(storage),
  onAfterResponse: (request, response) => {
    const header = (name) => response.getHeader(name) ?? null;
    tell({
      method: request.getMethod(),
      status: response.getStatus(),
      offset: Number(header("Upload-Offset")),
      file: header("X-File-URL"),
      deletion: header("X-Deletion-URL"),
    });
  },
  onError: (error) => {
    tell({ error: String(error.message) });
    process.exit(1);
  },
  onSuccess: () => tell({ done: true }),
});
const [previous] = await upload.findPreviousUploads();
if (previous) upload.resumeFromPreviousUpload(previous);
upload.start();
