//! The VST3 view: wraps nice-plug's, and remembers the scale that the host tells before the window is open.
//!
//! nice-plug 0.4 refuses and forgets it. A host that compares pointers must know one view only, so the frame that the
//! host sets is wrapped, too: it passes the view of this module on to the host.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use nice_plug::wrapper::vst3::vst3::Steinberg::IPlugViewContentScaleSupport_::ScaleFactor;
#[cfg(all(unix, not(target_os = "macos")))]
use nice_plug::wrapper::vst3::vst3::Steinberg::Linux::{
    FileDescriptor, IEventHandler, IRunLoop, IRunLoopTrait, ITimerHandler, TimerInterval,
};
use nice_plug::wrapper::vst3::vst3::Steinberg::{
    FIDString, IPlugFrame, IPlugFrameTrait, IPlugView, IPlugViewContentScaleSupport,
    IPlugViewContentScaleSupportTrait, IPlugViewTrait, TBool, ViewRect, char16, int16, kResultFalse,
    kResultOk, tresult,
};
use nice_plug::wrapper::vst3::vst3::{Class, ComPtr, ComRef, ComWrapper};

use crate::host_link::HostLink;

/// The view as the host knows it.
pub struct View {
    inner: ComPtr<IPlugView>,
    link: Arc<HostLink>,
    this: Arc<AtomicPtr<IPlugView>>,
}

impl Class for View {
    type Interfaces = (IPlugView, IPlugViewContentScaleSupport);
}

impl View {
    /// Wraps `inner`, which it owns. Returns a pointer that the caller owns; null if `inner` is.
    ///
    /// # Safety
    /// `inner` is null or a view.
    pub unsafe fn wrap(inner: *mut IPlugView, link: Arc<HostLink>) -> *mut IPlugView {
        // SAFETY: the caller's promise.
        let Some(inner) = (unsafe { ComPtr::from_raw(inner) }) else { return null_mut() };
        let this = Arc::<AtomicPtr<IPlugView>>::default();
        let view = ComWrapper::new(Self { inner, link, this: this.clone() });
        let pointer = view.to_com_ptr::<IPlugView>().map_or(null_mut(), ComPtr::into_raw);
        this.store(pointer, Ordering::Release);
        pointer
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.this.store(null_mut(), Ordering::Release);
    }
}

/// Implements methods by calling those of the field `inner`.
macro_rules! forward {
    ($inner:ident: $($method:ident($($argument:ident: $kind:ty),*);)*) => {
        $(unsafe fn $method(&self, $($argument: $kind),*) -> tresult {
            // SAFETY: the arguments are the caller's, for the same method.
            unsafe { self.$inner.$method($($argument),*) }
        })*
    };
}

impl IPlugViewTrait for View {
    forward! { inner:
        isPlatformTypeSupported(kind: FIDString);
        attached(parent: *mut c_void, kind: FIDString);
        removed();
        onWheel(distance: f32);
        onKeyDown(key: char16, code: int16, modifiers: int16);
        onKeyUp(key: char16, code: int16, modifiers: int16);
        getSize(size: *mut ViewRect);
        onSize(size: *mut ViewRect);
        onFocus(state: TBool);
        canResize();
        checkSizeConstraint(rectangle: *mut ViewRect);
    }

    unsafe fn setFrame(&self, frame: *mut IPlugFrame) -> tresult {
        // SAFETY: the host passes a frame or null, and keeps it until it sets another one.
        unsafe {
            let frame = ComRef::from_raw(frame).map(|frame| frame.to_com_ptr());
            let frame = frame.and_then(|frame| Frame::wrap(frame, self.this.clone()));
            self.inner.setFrame(frame.as_ref().map_or(null_mut(), ComPtr::as_ptr))
        }
    }
}

impl IPlugViewContentScaleSupportTrait for View {
    /// Notes the scale, and passes it on to an open window.
    unsafe fn setContentScaleFactor(&self, factor: ScaleFactor) -> tresult {
        if !self.link.set_window_scale(f64::from(factor)) {
            return kResultFalse;
        }
        if let Some(inner) = self.inner.cast::<IPlugViewContentScaleSupport>() {
            // SAFETY: this is the host's call, passed on. Without a window, nice-plug refuses it.
            unsafe { inner.setContentScaleFactor(factor) };
        }
        kResultOk
    }
}

/// The host's frame, as nice-plug knows it.
struct Frame {
    host: ComPtr<IPlugFrame>,
    /// The view that the host knows; null once that is gone.
    view: Arc<AtomicPtr<IPlugView>>,
}

impl Class for Frame {
    type Interfaces = (IPlugFrame,);
}

impl Frame {
    fn wrap(host: ComPtr<IPlugFrame>, view: Arc<AtomicPtr<IPlugView>>) -> Option<ComPtr<IPlugFrame>> {
        #[cfg(all(unix, not(target_os = "macos")))]
        if let Some(run_loop) = host.cast::<IRunLoop>() {
            return ComWrapper::new(FrameWithRunLoop { frame: Self { host, view }, run_loop }).to_com_ptr();
        }
        ComWrapper::new(Self { host, view }).to_com_ptr()
    }
}

impl IPlugFrameTrait for Frame {
    unsafe fn resizeView(&self, _: *mut IPlugView, size: *mut ViewRect) -> tresult {
        let view = self.view.load(Ordering::Acquire);
        if view.is_null() {
            return kResultFalse;
        }
        // SAFETY: the host's view is not gone, and the size is nice-plug's.
        unsafe { self.host.resizeView(view, size) }
    }
}

/// The frame of a host that has a run loop, as all hosts on Linux should.
#[cfg(all(unix, not(target_os = "macos")))]
struct FrameWithRunLoop {
    frame: Frame,
    run_loop: ComPtr<IRunLoop>,
}

#[cfg(all(unix, not(target_os = "macos")))]
impl Class for FrameWithRunLoop {
    type Interfaces = (IPlugFrame, IRunLoop);
}

#[cfg(all(unix, not(target_os = "macos")))]
impl IPlugFrameTrait for FrameWithRunLoop {
    unsafe fn resizeView(&self, view: *mut IPlugView, size: *mut ViewRect) -> tresult {
        // SAFETY: this is nice-plug's call, passed on.
        unsafe { self.frame.resizeView(view, size) }
    }
}

#[cfg(all(unix, not(target_os = "macos")))]
impl IRunLoopTrait for FrameWithRunLoop {
    forward! { run_loop:
        registerEventHandler(handler: *mut IEventHandler, file: FileDescriptor);
        unregisterEventHandler(handler: *mut IEventHandler);
        registerTimer(handler: *mut ITimerHandler, interval: TimerInterval);
        unregisterTimer(handler: *mut ITimerHandler);
    }
}

#[cfg(test)]
mod tests {
    use nice_plug::wrapper::vst3::vst3::Steinberg::kNotImplemented;
    use parking_lot::Mutex;

    use super::*;

    /// nice-plug's view before the window is open: refuses scales, and asks its frame for a size when it gets one.
    #[derive(Default)]
    struct InnerView {
        frame: Mutex<Option<ComPtr<IPlugFrame>>>,
    }

    impl Class for InnerView {
        type Interfaces = (IPlugView, IPlugViewContentScaleSupport);
    }

    impl IPlugViewContentScaleSupportTrait for InnerView {
        unsafe fn setContentScaleFactor(&self, _: ScaleFactor) -> tresult {
            kResultFalse
        }
    }

    macro_rules! not_implemented {
        ($($method:ident($($kind:ty),*);)*) => {
            $(unsafe fn $method(&self, $(_: $kind),*) -> tresult {
                kNotImplemented
            })*
        };
    }

    impl IPlugViewTrait for InnerView {
        not_implemented! {
            isPlatformTypeSupported(FIDString);
            attached(*mut c_void, FIDString);
            removed();
            onWheel(f32);
            onKeyDown(char16, int16, int16);
            onKeyUp(char16, int16, int16);
            getSize(*mut ViewRect);
            onFocus(TBool);
            canResize();
            checkSizeConstraint(*mut ViewRect);
        }

        /// Asks the frame for the same size.
        unsafe fn onSize(&self, size: *mut ViewRect) -> tresult {
            let frame = self.frame.lock().clone().unwrap();
            // SAFETY: the frame is the one that was set.
            unsafe { frame.resizeView(null_mut(), size) }
        }

        unsafe fn setFrame(&self, frame: *mut IPlugFrame) -> tresult {
            // SAFETY: the caller passes a frame or null.
            *self.frame.lock() = unsafe { ComRef::from_raw(frame) }.map(|frame| frame.to_com_ptr());
            kResultOk
        }
    }

    /// A host's frame, which records the views that ask for a size.
    #[derive(Default)]
    struct HostFrame(Arc<Mutex<Vec<usize>>>);

    impl Class for HostFrame {
        type Interfaces = (IPlugFrame,);
    }

    impl IPlugFrameTrait for HostFrame {
        unsafe fn resizeView(&self, view: *mut IPlugView, _: *mut ViewRect) -> tresult {
            self.0.lock().push(view as usize);
            kResultOk
        }
    }

    /// A view as the host gets it, around one of nice-plug.
    fn view() -> (ComPtr<IPlugView>, ComWrapper<InnerView>, Arc<HostLink>) {
        let (inner, link) = (ComWrapper::new(InnerView::default()), Arc::<HostLink>::default());
        let pointer = inner.to_com_ptr::<IPlugView>().unwrap().into_raw();
        // SAFETY: both pointers are those of new objects.
        let view = unsafe { ComPtr::from_raw(View::wrap(pointer, link.clone())).unwrap() };
        (view, inner, link)
    }

    #[test]
    fn scale_before_the_window_is_open_is_kept() {
        let (view, _inner, link) = view();
        let scale = view.cast::<IPlugViewContentScaleSupport>().unwrap();
        // SAFETY: the call has no pointers.
        let set = |factor| unsafe { scale.setContentScaleFactor(factor) };
        assert_eq!(link.window_scale(), None);
        assert_eq!((set(1.25), link.window_scale()), (kResultOk, Some(1.25)));
        for refused in [f32::NAN, f32::INFINITY, 0.0, -2.0] {
            assert_eq!((set(refused), link.window_scale()), (kResultFalse, Some(1.25)), "{refused}");
        }
    }

    #[test]
    fn host_is_asked_for_a_size_by_the_view_that_it_knows() {
        let (view, inner, _link) = view();
        let asked = Arc::<Mutex<Vec<usize>>>::default();
        let frame = ComWrapper::new(HostFrame(asked.clone()));
        let frame = frame.to_com_ptr::<IPlugFrame>().unwrap();
        let mut size = ViewRect { left: 0, top: 0, right: 700, bottom: 400 };
        // SAFETY: the pointers are those of living objects.
        unsafe {
            assert_eq!(view.setFrame(frame.as_ptr()), kResultOk);
            assert_eq!(view.onSize(&mut size), kResultOk);
            assert_eq!(*asked.lock(), [view.as_ptr() as usize]);
            drop(view);
            assert_eq!(inner.onSize(&mut size), kResultFalse, "the host has closed the view");
        }
        assert_eq!(asked.lock().len(), 1);
    }
}
