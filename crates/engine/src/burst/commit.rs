//! The end of a burst: everything that it came to in one transaction, and what is stored of the run from then on.
use super::*;

impl Going<'_> {
    /// Commits all of it, and says what is stored now.
    pub(super) async fn commit(mut self) -> Result<(Base, Committed), Refused> {
        let (ws, run) = (self.ctx.ws.id, self.base.run);
        let now = self.ctx.core.ports.clock.now();
        let place = self.head.place.take_if(|_| self.finished.is_some());
        if let (Some(finished), Some(place)) = (&mut self.finished, &place)
            && finished.status == machine::RunStatus::Cancelled
        {
            finished.error = concurrency::replaced(place);
        }
        self.settle_head(now.as_millisecond());
        let (mut moved, mut left) = (None, Vec::new());
        if let Some(finished) = &self.finished {
            if finished.status == machine::RunStatus::Cancelled {
                // Before the commit: what asked for it lies in the inbox until then, so no crash leaves them running.
                children::cancel_all(self.ctx, &std::mem::take(&mut self.to_end)).await?;
            }
            let parent = children::tell_parent(self.ctx, &mut self.txn, run, &self.head, finished).await?;
            self.told.extend(parent.map(|(parent, workflow)| (parent, workflow, false)));
        }
        if let Some(place) = &place {
            let (workflow, others) = (&self.head.workflow, &mut self.others);
            concurrency::leave(self.ctx, &mut self.txn, workflow, place, others).await?;
        }
        if self.finished.is_some() {
            if self.base.flow.graph.has_items() && self.state.start.is_some() {
                self.write_last().await?;
            } else {
                // What its snapshots alone named is claimed by this commit from here on.
                self.page.let_go(&std::mem::take(&mut self.claims))?;
            }
            self.open.clear();
            self.send.clear();
            self.frozen.clear();
            self.unset.clear();
            self.incoming.clear();
            for (timer, due) in std::mem::take(&mut self.timers) {
                let key = timers::key(ws, run, &timer, due);
                if self.rows() < HARD_ROWS { self.txn.delete(key) } else { left.push(key) }
            }
            if self.head.inbox > 0 {
                // What it did not come to hear goes with it.
                for (key, _) in self.txn.range(inbox::of_run(ws, run), usize::MAX, false).await? {
                    if self.rows() < HARD_ROWS { self.txn.delete(key) } else { left.push(key) }
                }
                self.head.inbox = 0;
            }
            if self.base.stored {
                self.txn.delete(runs::live_key(ws, run));
            }
        } else {
            moved = self.write_snapshot().await?;
        }
        if let Some(before) = self.base.moved
            && moved != self.base.moved
        {
            self.txn.delete(runs::blob_ref_key(ws, &before, run));
        }
        if let Some(page) = self.page.value(now.as_millisecond(), self.switch.as_ref())? {
            self.txn.put(runs::journal_key(ws, run, self.head.commits), page);
        }
        if let Some(page) = self.page.items_value() {
            self.txn.put(items::events_key(ws, run, self.head.commits), page);
        }
        let pointer = RunMoved { steps: std::mem::take(&mut self.moved), ..RunMoved::of(run, &self.head) };
        let queued: Vec<&RunMoved> = self.children.iter().map(Put::moved).collect();
        let row = self.events.row_with(now.as_millisecond(), Some(&pointer), &queued)?;
        self.txn.append(self.ctx.ws.log, row);
        self.head.commits += 1;
        self.txn.put(runs::head_key(ws, run), tables::encode(&self.head)?);
        for sha256 in &self.blobs {
            self.txn.put(runs::blob_ref_key(ws, sha256, run), vec![tables::FORMAT]);
        }
        if let Some((key, row)) = &self.base.hook_key {
            self.txn.put(key.clone(), tables::encode(row)?);
        }
        for connection in &self.through {
            if let Some((key, value)) = connections::remembered(self.ctx, connection)? {
                self.txn.put(key, value);
            }
        }
        let is_ready =
            |id: &CallId| !self.calls.is_running(id) && !self.send.contains(id) && !self.calls.is_held(id);
        let more = self.late || !self.unset.is_empty() || self.open.keys().any(is_ready);
        let stats = &self.ctx.core.stats;
        let keys = self.txn.keys() as u64;
        let stamp = self.txn.commit().await?;
        add(&stats.commits, 1);
        add(&stats.keys_written, keys);
        add(&stats.steps, self.steps as u64);
        self.calls.keep_only(&self.open);
        if self.finished.is_some() {
            connections::forget(self.ctx, run);
        }
        self.children.iter().for_each(|child| child.stored(self.ctx));
        for (run, workflow, ends) in &self.told {
            if *ends { self.ctx.wake_at_once(*run, workflow) } else { self.ctx.wake(*run, workflow) }
        }
        concurrency::wake(self.ctx, &self.head.workflow, &self.others);
        crate::timers::sweep(self.ctx, run, &left).await;
        if let Err(refused) = children::cancel_all(self.ctx, &self.to_end).await {
            tracing::warn!(%run, %refused, "runs that nobody waits for any more go on to their own end");
        }
        for due in self.cleared {
            // Others may be due at the same time.
            if !self.timers.iter().any(|(_, other)| *other == due) {
                self.ctx.core.timers.remove(due.as_millisecond(), self.ctx.ws.id, run);
            }
        }
        let next = Base {
            run,
            flow: self.base.flow.clone(),
            head: self.head,
            state: self.state,
            incoming: self.incoming,
            timers: self.timers,
            unset: self.unset,
            frozen: self.frozen,
            open: self.open,
            stored: true,
            head_at: Some((stamp, self.ctx.core.ports.clock.elapsed())),
            hook_key: None,
            step_limit: usize::MAX,
            moved,
            switch: None,
            items: self.items,
            claims: self.claims,
            wanted: None,
        };
        Ok((next, Committed { send: self.send, finished: self.finished, answer: self.answer, more }))
    }

    fn settle_head(&mut self, now_ms: i64) {
        self.head.status = api::run_status(self.state.status);
        if !self.open.is_empty() && self.open.keys().all(|id| self.calls.is_held(id)) {
            self.head.status = api::RunStatus::Waiting;
        }
        if let (Some(start), None) = (&self.state.start, self.head.started_ms) {
            // Not the time of the commit: the steps of the first burst were done before it.
            self.head.started_ms = Some(start.at.as_millisecond());
        }
        if let Some(finished) = &self.finished {
            self.head.status = api::run_status(finished.status);
            self.head.ended_ms = Some(now_ms);
            self.head.error = finished.error.as_ref().map(|failure| api::brief(api::run_failure(failure)));
        }
        let waits = self.head.status == api::RunStatus::Waiting;
        self.head.alarm = if waits { wakes::first(&self.timers, &self.state) } else { None };
    }

    /// The snapshot that the next burst starts from, if this process does not make it.
    async fn write_snapshot(&mut self) -> Result<Option<[u8; 32]>, Refused> {
        let parked = self.open.is_empty() && self.unset.is_empty() && self.incoming.is_empty();
        let key = runs::live_key(self.ctx.ws.id, self.base.run);
        let incoming = self.incoming.clone();
        self.snapshot(key, Live { parked, incoming, ..Live::default() }).await
    }

    /// The last snapshot of a run with items: a retry, and whoever looks at the run, start from it.
    async fn write_last(&mut self) -> Result<(), Refused> {
        let answer = self.answer.clone();
        let key = items::last_key(self.ctx.ws.id, self.base.run);
        self.snapshot(key, Live { answer, ..Live::default() }).await.map(|_| ())
    }

    async fn snapshot(&mut self, key: Key, with: Live) -> Result<Option<[u8; 32]>, Refused> {
        let mut live = Live {
            state: std::mem::take(&mut self.state),
            timers: std::mem::take(&mut self.timers),
            unset: std::mem::take(&mut self.unset),
            frozen: std::mem::take(&mut self.frozen),
            items: std::mem::take(&mut self.items),
            claims: std::mem::take(&mut self.claims),
            ..with
        };
        // Of an iterator whose failure was dealt with nothing is left to be retried.
        live.items.retain(|item, _| live.state.step(item).is_some());
        if !live.claims.is_empty() {
            let named = live.state.payloads_mut().filter_map(|payload| payload.reference().cloned());
            let named: BTreeSet<String> = named.map(|blob| blob.sha256).collect();
            let claims = std::mem::take(&mut live.claims).into_iter();
            let (kept, gone) = claims.partition(|claim| named.contains(&claim.blob.sha256));
            live.claims = kept;
            // What has left the state is claimed by this commit from here on, and not written again.
            self.page.let_go(&gone)?;
        }
        let mut value = tables::encode(&live)?;
        let graph = &self.base.flow.graph;
        if value.len() > LIGHT_SNAPSHOT && (graph.has_items() || graph.has_pages()) {
            // It is written many times: what does not change is written once, and named.
            let before = self.blobs.len();
            for payload in live.state.payloads_mut().filter(|payload| payload.reference().is_none()) {
                self.blobs.extend(blobs::spill(self.ctx, payload, LIGHT_SNAPSHOT / 4).await?);
                let claim = payload.reference().cloned().map(|blob| Claim { blob });
                live.claims.extend(claim.filter(|claim| !live.claims.contains(claim)));
            }
            if self.blobs.len() > before {
                value = tables::encode(&live)?;
            }
        }
        let (value, moved) = load::snapshot_value(self.ctx, value).await?;
        self.blobs.extend(moved);
        self.txn.put(key, value);
        self.state = live.state;
        self.timers = live.timers;
        self.unset = live.unset;
        self.frozen = live.frozen;
        self.items = live.items;
        self.claims = live.claims;
        Ok(moved)
    }
}
