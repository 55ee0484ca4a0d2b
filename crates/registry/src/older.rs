//! A registry of the schema before scores had a quantity, as readers see it: what a migration would add stands in temporary
//! views of the connection, and the file stays as it is until somebody writes.

use sqlx::SqliteConnection;

/// The schema that is read so.
pub(crate) const WITHOUT_QUANTITY: i64 = 4;

/// The migration whose expressions the views take, so that a score reads the same before and after it.
const MIGRATION: &str = include_str!("../../../migrations/0005_score_quantity.sql");

/// Shows the scores with their quantities, by temporary views that come before the tables of their names.
pub(crate) async fn show_quantities(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let quantity = between("SET quantity = ", ";");
    let is_higher_better = between("SET higher_is_better = ", ";");
    let history = between("CREATE VIEW fid_history AS", ";");
    // Otherwise nothing can be made on a reader's connection, not even what is gone with it.
    for statement in [
        "PRAGMA query_only = OFF".to_owned(),
        format!(
            "CREATE TEMP VIEW scores AS SELECT *, {is_higher_better} AS higher_is_better
             FROM (SELECT *, {quantity} AS quantity FROM main.scores)"
        ),
        format!("CREATE TEMP VIEW fid_history AS {history}"),
        "PRAGMA query_only = ON".to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn between(begin: &str, end: &str) -> &'static str {
    let text = MIGRATION.split_once(begin).map_or("", |(_, text)| text);
    text.split_once(end).map_or("", |(text, _)| text)
}
