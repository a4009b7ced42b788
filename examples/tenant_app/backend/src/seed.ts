import { readSeedConfig } from "./config.js";
import { openDatabase } from "./database.js";
import { readConfigOrExit } from "./environment.js";
import { seed } from "./seeding.js";
import { StorageSelector } from "./storage/selector.js";

const config = readConfigOrExit(readSeedConfig);
const database = openDatabase(config.database, (error) => console.error(error.message));
try {
  const storage = await StorageSelector.open(config.storage, database);
  await storage.refresh();
  await seed(database, storage.current(), config);
  console.log(`seeded: ${await database.primary.note.count()} notes and ${await database.primary.upload.count()} uploads are there`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  await database.close();
}
