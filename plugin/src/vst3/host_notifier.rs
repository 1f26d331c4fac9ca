//! Notices to a VST3 host: changed state by `IComponentHandler2`, changed texts by `restartComponent`.

use std::sync::Arc;

use nice_plug::wrapper::vst3::vst3::ComPtr;
use nice_plug::wrapper::vst3::vst3::Steinberg::Vst::{
    IComponentHandler, IComponentHandler2, IComponentHandler2Trait, IComponentHandlerTrait,
    RestartFlags_::kParamValuesChanged,
};
use parking_lot::Mutex;

use crate::host_link::{HostNotice, HostNotifier};

/// The host's handler, which the host sets and replaces.
#[derive(Clone, Default)]
pub struct Vst3Notifier(Arc<Mutex<Option<ComPtr<IComponentHandler>>>>);

impl Vst3Notifier {
    pub fn set_handler(&self, handler: Option<ComPtr<IComponentHandler>>) {
        *self.0.lock() = handler;
    }

    /// The handler, without the lock: the host may set another one while it is called.
    fn handler(&self) -> Option<ComPtr<IComponentHandler>> {
        self.0.lock().clone()
    }
}

impl HostNotifier for Vst3Notifier {
    fn marks_edits(&self) -> bool {
        self.handler().is_some_and(|handler| handler.cast::<IComponentHandler2>().is_some())
    }

    /// Passes on edits only. A host reads all values again after it has loaded a state.
    fn notify(&self, notice: HostNotice) {
        let Some(handler) = self.handler().filter(|_| notice == HostNotice::Edited) else { return };
        // SAFETY: the handler is the host's, and this is its main thread.
        unsafe {
            handler.restartComponent(kParamValuesChanged);
            if let Some(handler) = handler.cast::<IComponentHandler2>() {
                handler.setDirty(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nice_plug::wrapper::vst3::vst3::Steinberg::Vst::{ParamID, ParamValue};
    use nice_plug::wrapper::vst3::vst3::Steinberg::{FIDString, TBool, int32, kResultOk, tresult};
    use nice_plug::wrapper::vst3::vst3::{Class, ComWrapper};

    use super::*;

    type Calls = Arc<Mutex<Vec<(&'static str, i32)>>>;

    /// A host without `IComponentHandler2`.
    struct OldHandler(Calls);

    impl Class for OldHandler {
        type Interfaces = (IComponentHandler,);
    }

    struct Handler(Calls);

    impl Class for Handler {
        type Interfaces = (IComponentHandler, IComponentHandler2);
    }

    macro_rules! record_restarts {
        ($($handler:ty),*) => {
            $(impl IComponentHandlerTrait for $handler {
                unsafe fn beginEdit(&self, _: ParamID) -> tresult {
                    kResultOk
                }

                unsafe fn performEdit(&self, _: ParamID, _: ParamValue) -> tresult {
                    kResultOk
                }

                unsafe fn endEdit(&self, _: ParamID) -> tresult {
                    kResultOk
                }

                unsafe fn restartComponent(&self, flags: int32) -> tresult {
                    self.0.lock().push(("restartComponent", flags));
                    kResultOk
                }
            })*
        };
    }

    record_restarts!(OldHandler, Handler);

    impl IComponentHandler2Trait for Handler {
        unsafe fn setDirty(&self, state: TBool) -> tresult {
            self.0.lock().push(("setDirty", i32::from(state)));
            kResultOk
        }

        unsafe fn requestOpenEditor(&self, _: FIDString) -> tresult {
            kResultOk
        }

        unsafe fn startGroupEdit(&self) -> tresult {
            kResultOk
        }

        unsafe fn finishGroupEdit(&self) -> tresult {
            kResultOk
        }
    }

    const RESTART: (&str, i32) = ("restartComponent", kParamValuesChanged);

    #[test]
    fn edit_marks_the_state_where_the_host_can() {
        let (notifier, calls) = (Vst3Notifier::default(), Calls::default());
        assert!(!notifier.marks_edits(), "there is no handler yet");
        notifier.set_handler(ComWrapper::new(Handler(calls.clone())).to_com_ptr());
        assert!(notifier.marks_edits());
        notifier.notify(HostNotice::Edited);
        assert_eq!(*calls.lock(), [RESTART, ("setDirty", 1)]);

        let calls = Calls::default();
        notifier.set_handler(ComWrapper::new(OldHandler(calls.clone())).to_com_ptr());
        assert!(!notifier.marks_edits());
        notifier.notify(HostNotice::Edited);
        assert_eq!(*calls.lock(), [RESTART], "the texts have changed all the same");
    }

    #[test]
    fn loaded_texts_and_a_host_without_handler_are_left_alone() {
        let (notifier, calls) = (Vst3Notifier::default(), Calls::default());
        notifier.notify(HostNotice::Edited);
        notifier.set_handler(ComWrapper::new(Handler(calls.clone())).to_com_ptr());
        notifier.notify(HostNotice::TextsLoaded);
        assert!(calls.lock().is_empty());
    }
}
