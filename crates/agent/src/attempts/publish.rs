//! What an attempt says of its command's end, and of what that has left behind.

use tombolo_core::attempt::{Assignment, GeneratedFile, Outcome, TransferReceipt};
use tombolo_core::build::TerminalState;

use super::life::{Broken, Life, fault};
use super::outcome::Verdict;
use super::{inputs, log, secrets};
use crate::executor::{Collected, Executor};
use crate::mask::Masker;
use crate::supervisor::Exit;

impl<E: Executor> Life<E> {
    pub(super) async fn publish(
        &mut self,
        assignment: &Assignment,
        (exit, collected): (Exit, Collected),
        inputs: Vec<TransferReceipt>,
    ) -> Result<Outcome, Broken> {
        // What an earlier agent gave to the command may be another value than the one that there is now.
        let is_certain = self.masker.is_some() || assignment.job.secrets.is_empty();
        let masker = self.known_masker(assignment).await;
        let verdict = match &assignment.job.repository {
            Some(_) => Verdict::on_clone(&exit, assignment.job.timeout, collected.generated.as_ref()),
            None => Verdict::on(&exit, assignment.job.timeout, &collected.tests),
        };
        let (mut verdict, output) = match collected.output {
            Ok(output) => (verdict, output),
            Err(reason) => (verdict.without_output(&reason), None),
        };
        verdict.message = masker.text(&verdict.message).into_owned();
        let finished = verdict.state == TerminalState::Finished;
        let words = inputs::kept(&collected.cache).filter(|_| finished);
        let words = words.map(|words| masker.text(&words).into_owned());
        let said = Some(verdict.message.clone()).filter(|message| !message.is_empty());
        let notes: Vec<String> = words.into_iter().chain(said).collect();
        let mut log_lines = exit.log_lines;
        if !notes.is_empty() {
            log_lines = log::note(&self.folder, notes).await.map_err(fault)?;
            self.hint();
        }
        let cache = collected.cache.ok().flatten().filter(|_| finished).map(Box::new);
        let outcome = verdict.outcome(&exit, log_lines, inputs, output);
        let generated = collected.generated.filter(|_| finished);
        Ok(Outcome {
            cache,
            generated: generated.map(|file| Box::new(without_secrets(file, &masker, is_certain))),
            ..outcome
        })
    }

    /// What takes the secrets out of messages, also if an earlier agent has started the command. While nobody can say them, nobody can be
    /// told of the end either.
    async fn known_masker(&mut self, assignment: &Assignment) -> Masker {
        if let Some(masker) = &self.masker {
            return masker.clone();
        }
        // Where they were deleted since, what is masked is what the supervisor has masked.
        let values = secrets::find(&self.shared, assignment).await.unwrap_or_default();
        self.masker.insert(Masker::new(&values)).clone()
    }
}

/// What a job file says is kept and shown: a value in it would be neither secret nor masked any more.
fn without_secrets(file: GeneratedFile, masker: &Masker, is_certain: bool) -> GeneratedFile {
    let GeneratedFile { name, text, workflows } = file;
    let in_workflows = workflows.iter().any(|file| match &file.text {
        Ok(words) | Err(words) => masker.finds(words),
    });
    let text = text.and_then(|text| {
        if in_workflows || masker.finds(&text) {
            return Err("it has the value of a secret in it: refer to the secret by its name".to_owned());
        }
        if !is_certain {
            let reason = "nobody knows any more whether it has the value of a secret in it, since the agent was started again while the \
                          job ran: run the job again";
            return Err(reason.to_owned());
        }
        Ok(text)
    });
    let workflows = if text.is_ok() { workflows } else { Vec::new() };
    GeneratedFile { name, text, workflows }
}
