//! Planning over what a workspace has, records and views too, and bringing it there.

use super::{Plan, Planner, Step};
use crate::error::{Problem, RecordsError};
use crate::problems::Problems;
use crate::records::Records;
use crate::row::{self, Life};
use crate::schema::field::ObjectId;
use crate::schema::stored;
use crate::schema::wanted::Wanted;

impl Records<'_> {
    /// What applying would change; nothing is written.
    pub async fn plan_schema(&mut self, wanted: &Wanted) -> Result<Plan, RecordsError> {
        let additions = stored::all_additions(self.txn, self.workspace).await?;
        let mut plan = Planner::new(&self.schema, additions).plan(wanted)?;
        let mut problems = Problems::default();
        for id in &plan.removed {
            if self.has_records(*id).await? {
                let name = self.schema.name_of(*id);
                let problem =
                    Problem::new("remove_objects", format!("there are records of {name}, or deleted ones"));
                problems.push(problem.hint("deleted ones can be restored: an object that had records stays"));
            }
        }
        for object in plan.schema.objects().filter(|object| !plan.removed.contains(&object.id)) {
            self.views_fit(object, &plan.renamed, &mut problems).await?;
        }
        for (i, view) in wanted.views.iter().enumerate() {
            let mut found = Problems::default();
            let object = plan.schema.object(&view.object)?;
            self.checked_view(object, &view.name, view.filter.as_ref(), &view.sort, &mut found);
            problems.extend(
                found
                    .into_list()
                    .into_iter()
                    .map(|problem| Problem { path: format!("views[{i}].{}", problem.path), ..problem }),
            );
        }
        if !problems.is_empty() {
            return Err(RecordsError::Schema { problems: problems.into_list() });
        }
        for view in &wanted.views {
            let object = plan.schema.object(&view.object)?.clone();
            let change = self.view_changes(&object, view).await?;
            plan.steps.extend(change.map(|about| Step {
                change: "save_view".into(),
                object: object.name.clone(),
                name: view.name.clone(),
                about,
            }));
        }
        Ok(plan)
    }

    /// Changes the schema and saves the views.
    pub async fn apply_schema(&mut self, wanted: &Wanted) -> Result<Plan, RecordsError> {
        let plan = self.plan_schema(wanted).await?;
        for (id, additions) in &plan.additions {
            stored::save(self.txn, self.workspace, *id, additions)?;
        }
        for (id, from, to) in &plan.renamed {
            self.rename_in_views(*id, from, to).await?;
        }
        for id in &plan.removed {
            self.remove_views(*id).await?;
        }
        self.reload().await?;
        for view in &wanted.views {
            self.save_view(&view.object, &view.name, view.filter.as_ref(), &view.sort).await?;
        }
        Ok(plan)
    }

    /// Whether it has any, deleted ones too, which can be restored. The commit rests on it.
    async fn has_records(&mut self, id: ObjectId) -> Result<bool, RecordsError> {
        for life in [Life::Live, Life::Deleted] {
            if !self.txn.range(row::range(self.workspace, id, life), 1, false).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
