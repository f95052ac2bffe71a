//! The part of the run with several clients: their scripts, and random acts.

use crate::clients::script::{Act, Deed};
use crate::clients::stage::{Setting, Stage};
use crate::clients::{SCRIPTS, differs, load, random, stage};
use crate::pair::Verdict;
use crate::random::state;
use crate::{ENOUGH, Run, SEQUENCE, found, reload};

impl Run {
    pub fn clients(&mut self) {
        for name in SCRIPTS {
            let script = load(name);
            let Some(mut stage) = stage(name, &script) else { continue };
            let peer = stage.peer();
            for section in script.sections.iter().filter(|section| section.peers.contains(&peer)) {
                for &protocol in &section.protocols {
                    let origin = format!("{name}, '{}'", section.title);
                    if !self.acts(&stage, &Setting::of(section, protocol), &section.acts, &origin) {
                        stage = Stage::start(&script.flags);
                    }
                }
            }
        }
        self.random_acts();
    }

    fn random_acts(&mut self) {
        let mut stage = Stage::start("");
        let (mix, first, count) = (random::mix(&stage), self.number("seed"), self.number("acts"));
        let mut differences = 0;
        for seed in first..first + count / SEQUENCE as u64 {
            let (acts, setting) =
                (random::acts(&mix, stage.peer(), seed, SEQUENCE), Setting::random(seed, stage.peer()));
            let origin = format!("random acts of several clients, seed {seed}");
            let mut equal = self.acts(&stage, &setting, &acts, &origin);
            if equal && let Some(difference) = state::difference(stage.pair()) {
                found(&origin, setting.protocol, &difference);
                self.report.count_of("(data sets)", Verdict::Different, "clients");
                equal = false;
            }
            if equal && let Some(difference) = reload::difference(stage.pair()) {
                found(&origin, setting.protocol, &difference);
                self.report.count_of("(data sets)", Verdict::Different, "clients");
                equal = false;
            }
            if !equal {
                stage = Stage::start("");
                differences += 1;
            }
            if differences == ENOUGH {
                return;
            }
        }
    }

    /// Runs acts up to their first difference. Returns whether there was none.
    fn acts(&mut self, stage: &Stage, setting: &Setting<'_>, acts: &[Act], origin: &str) -> bool {
        let (report, only) = (&mut self.report, &self.only);
        let difference = differs(stage, setting, acts, |outcome| {
            if let (Deed::Call(args), false) = (&acts[outcome.at].deed, outcome.verdict == Verdict::Different)
            {
                report.count(args, outcome.verdict, "clients", only);
            }
        });
        if let Some(difference) = &difference {
            found(origin, setting.protocol, difference);
            self.report.count_of("(several clients)", Verdict::Different, "clients");
        }
        difference.is_none()
    }
}
