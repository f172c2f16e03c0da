// Submitters add jobs in batches and wait for their end, as ours do; workers run nothing.
import { run, makeWorkerUtils, Logger } from "graphile-worker";
import pg from "pg";

const [submitters, batch, seconds] = process.argv.slice(2).map(Number);
const connectionString = process.env.DATABASE_URL;
const logger = new Logger(() => () => {});
const utils = await makeWorkerUtils({ connectionString, logger });
await utils.migrate();

const waiting = new Map();
let ended = 0;
const taskList = {
  nothing: async ({ build }) => {
    ended += 1;
    const left = waiting.get(build);
    left.jobs -= 1;
    if (left.jobs === 0) {
      waiting.delete(build);
      left.done();
    }
  },
};
// What its authors recommend for throughput: many jobs at once, taken and finished in batches.
const preset = {
  worker: {
    connectionString,
    logger,
    maxPoolSize: 20,
    concurrentJobs: 48,
    pollInterval: 200,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};
const runner = await run({ preset, taskList });
const pool = new pg.Pool({ connectionString, max: submitters });
const add =
  "SELECT graphile_worker.add_jobs(array(SELECT json_populate_record(null::graphile_worker.job_spec, spec) FROM json_array_elements($1::json) spec))";

let build = 0;
const began = process.hrtime.bigint();
const elapsed = () => Number(process.hrtime.bigint() - began) / 1e9;
async function submit() {
  while (elapsed() < seconds) {
    build += 1;
    const number = build;
    const over = new Promise((done) => waiting.set(number, { jobs: batch, done }));
    const specs = Array.from({ length: batch }, () => ({ identifier: "nothing", payload: { build: number } }));
    await pool.query(add, [JSON.stringify(specs)]);
    await over;
  }
}
await Promise.all(Array.from({ length: 2 * submitters }, submit));
console.log(JSON.stringify({ jobs_per_second: ended / elapsed() }));
await pool.end();
await runner.stop();
await utils.release();
process.exit(0);
